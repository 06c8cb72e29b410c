"""The model card: what a version is, how good, for whom, and where not to trust it. Markdown for MLflow's interface."""

from __future__ import annotations

from collections.abc import Sequence

from ur4rec.evaluation.results import HEADLINE_METRICS, Results, Slice
from ur4rec.evaluation.slices import slice_title
from ur4rec.markdown import escape_markdown, make_table
from ur4rec.ranking.bootstrap import Estimate

CARD = "model_card.md"
LONGEST_DESCRIPTION = 5000
"""MLflow's database keeps so many characters."""
CUT = f"\n\n… the rest is in `{CARD}` of the run.\n"
INTENDED_USE = (
    "Ranks the items of this catalogue for a user with a history: the next thing this user may want. Users it does not "
    "know are served from the history they send; without one they get what was popular recently."
)
LIMITS = (
    "Scores order the items of one request; they are no probabilities and cannot be compared between requests.",
    "Items that were not in the catalogue at training cannot be recommended.",
    "The metrics are offline, with what users chose under the interface of that time: they count how well the next "
    "choice is predicted, not what a recommendation would change.",
    "It learns from behaviour, so it repeats what is over- or under-represented there; see the slices.",
)


def render_card(results: Results, code_version: str) -> str:
    """Write the whole card from the evaluation of this very model and the version of the code that serves it."""
    data = results.dataset
    name = escape_markdown(data.name)
    facts = (
        ("data", f"{name}: {data.num_users:,} users, {data.num_items:,} items, {data.num_interactions:,} actions"),
        ("data digest", f"`{data.digest}`"),
        ("protocol", str(results.protocol)),
        ("seeds", ", ".join(map(str, results.seeds))),
        ("code", f"`{code_version}`"),
    )
    parts = (
        f"# {results.model_name} on {name}",
        "## Intended use\n\n" + INTENDED_USE,
        "## What it was trained and tested on\n\n" + make_table(("", ""), facts),
        "## Test metrics, with 95 % intervals over users\n\n" + _systems(results),
        "## NDCG@10 of parts of the users\n\n" + _slices(results.slices, results.model_name),
        "## Limits\n\n" + "\n".join(f"* {limit}" for limit in (*LIMITS, *map(escape_markdown, results.notes))),
    )
    return "\n\n".join(parts) + "\n"


def fit_description(card: str) -> str:
    """Cut the card at the end of a line to what MLflow keeps as the description of a version."""
    if len(card) <= LONGEST_DESCRIPTION:
        return card
    return card[: LONGEST_DESCRIPTION - len(CUT)].rpartition("\n")[0] + CUT


def _systems(results: Results) -> str:
    rows = [
        (system, *(_format(metrics[name]) for name in HEADLINE_METRICS)) for system, metrics in results.test.items()
    ]
    return make_table(("system", *HEADLINE_METRICS), rows)


def _slices(slices: Sequence[Slice], model: str) -> str:
    rows = [
        (
            slice_title(part.by),
            part.name,
            f"{part.low}–{part.high}",
            f"{part.num_users:,}",
            _format(part.test[model]["ndcg@10"]),
        )
        for part in slices
    ]
    return make_table(("slice", "", "from – to", "users", "ndcg@10"), rows)


def _format(estimate: Estimate) -> str:
    low, high = estimate.ci95
    return f"{estimate.value:.4f} ({low:.4f} to {high:.4f})"
