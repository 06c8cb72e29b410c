"""What an ablation found: a row a variant, its paired difference to the reference, and how both are shown.

S seeds, T targets, G targets of a group.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from pydantic import BaseModel, ConfigDict, FiniteFloat

from ur4rec.columns import ITEM
from ur4rec.data.sequences import Sequences
from ur4rec.evaluation.slices import TARGET_COUNT, Group, slice_title
from ur4rec.markdown import escape_markdown, make_code_span, make_table
from ur4rec.ranking.bootstrap import Estimate, paired_difference
from ur4rec.ranking.metrics import per_user_metrics
from ur4rec.storage.artifacts import write_texts_atomic

LONG_TAIL_BELOW = 10
"""A target with fewer training interactions than this is of the long tail."""
ENOUGH_SEEDS = 5
"""The fewest that a claim needs."""
ABLATION_JSON, ABLATION_MD = "ablation.json", "ablation.md"
LEGEND = (
    "± is the standard deviation over seeds. A difference is to the reference, per user and averaged over the seeds "
    "that both have; the bracket is its 95 % bootstrap interval over users, * marks one without zero."
)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Spread(_Part):
    """A metric over seeds."""

    mean: FiniteFloat
    std: FiniteFloat | None
    """Sample standard deviation over seeds; None for a single value."""

    def __str__(self) -> str:
        return f"{self.mean:.4f}" if self.std is None else f"{self.mean:.4f} ± {self.std:.4f}"


class GroupOutcome(_Part):
    """What a system comes to on the test targets of one group."""

    num_targets: int
    test: Spread
    """The chosen metric."""
    difference: Estimate | None
    """The chosen metric minus the reference's; None for the reference, or without a common seed."""


class Row(_Part):
    """One system."""

    name: str
    description: str
    settings: dict[str, Any]
    seeds: list[int]
    """Finished ones; empty for a system without randomness."""
    validation: Spread
    """The chosen metric on the validation targets."""
    test: dict[str, Spread]
    """The chosen metric, and hit@10."""
    difference: Estimate | None
    """The chosen test metric of this row minus the reference's; None for the reference, or without a common seed."""
    paired_seeds: list[int]
    """Seeds of the reference that the difference is taken over."""
    by_target_count: dict[str, GroupOutcome] = {}
    """Group of the slice `target_count` → outcome, without empty groups; empty in the files of older releases."""
    expert_weights: dict[str, FiniteFloat]
    seconds: FiniteFloat | None
    """Training time of all its stages and of ranking, mean over seeds, whoever trained a shared stage."""


class Dataset(_Part):
    """What was measured on."""

    name: str
    digest: str
    num_users: int
    num_items: int
    num_targets: int
    num_long_tail: int
    """Targets with fewer than ten training interactions."""


class AblationTable(_Part):
    """`ablation.json`."""

    dataset: Dataset
    metric: str
    reference: str
    config: dict[str, Any]
    """The base configuration."""
    bootstrap_samples: int
    rows: list[Row]
    long_tail: list[Row]
    """The same over the long-tail targets of validation and test; empty where either has none."""
    failures: dict[str, str]
    """Unit → its error."""
    notes: list[str]
    """Such as a baseline that was left out, or too few seeds."""


@dataclass(frozen=True)
class Measured:
    """First and last ranks of one system; expert weights and seconds are means over seeds."""

    description: str
    seeds: tuple[int, ...]
    """One for each row of the ranks; empty where one row stands for all."""
    validation: Int64[np.ndarray, "S T 2"]
    test: Int64[np.ndarray, "S T2 2"]
    settings: dict[str, Any] = field(default_factory=dict)
    """What differs from the base configuration."""
    expert_weights: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None

    def limited_to(self, validation: np.ndarray, test: np.ndarray) -> Measured:
        """The same system on some of the targets, given as masks."""
        return replace(self, validation=self.validation[:, validation], test=self.test[:, test])

    def of_seeds(self, seeds: tuple[int, ...]) -> Int64[np.ndarray, "S T2 2"]:
        """Test ranks of some seeds; of the one row where there are none."""
        return self.test[[self.seeds.index(seed) for seed in seeds]] if self.seeds else self.test


def compare(
    measured: Mapping[str, Measured], reference: str, metric: str, samples: int, groups: Sequence[Group] = ()
) -> list[Row]:
    """A row for each system, in order.

    The difference is between per-user metrics averaged over the seeds that both systems have; then users are resampled.
    Without the reference there are no differences. The test targets of each group are compared apart as well.
    """
    base = measured.get(reference)
    return [
        _row(name, system, None if name == reference else base, metric, samples, groups)
        for name, system in measured.items()
    ]


def describe_few_seeds(rows: Sequence[Row]) -> list[str]:
    """A note where a system was trained with fewer seeds than a claim needs.

    >>> describe_few_seeds([])
    []
    """
    few = [row for row in rows if 0 < len(row.seeds) < ENOUGH_SEEDS]
    if not few:
        return []
    counts = ", ".join(f"{row.name} {len(row.seeds)}" for row in few)
    return [
        "The intervals cover the choice of users, not the randomness of training: a claim needs at least "
        f"{ENOUGH_SEEDS} seeds, and there are fewer of {counts}"
    ]


def find_long_tail(data: Sequences, targets: np.ndarray) -> np.ndarray:
    """Which targets have fewer training interactions than `LONG_TAIL_BELOW`, `[T]`."""
    counts = data.training_counts()
    rare: np.ndarray = counts[targets[:, ITEM]] < LONG_TAIL_BELOW
    return rare


def write_ablation(table: AblationTable, output: Path) -> None:
    """Writes both files, or neither."""
    text = json.dumps(table.model_dump(), indent=2, allow_nan=False, ensure_ascii=False)
    write_texts_atomic({output / ABLATION_JSON: text + "\n", output / ABLATION_MD: _markdown(table)})


def sections(table: AblationTable) -> list[tuple[str, list[Row]]]:
    """Title and rows of each table there is: all targets, and the long tail."""
    data = table.dataset
    found = [(f"{data.name}: all {data.num_targets:,} test targets", table.rows)]
    if table.long_tail:
        share = f"{data.num_long_tail:,} test targets with fewer than {LONG_TAIL_BELOW} training interactions"
        found.append((f"{data.name}: the {share}", table.long_tail))
    return found


def tables(table: AblationTable) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, heads and lines of every table there is: those of `sections`, and the chosen metric by target count."""
    found = [(title, columns(table), list(map(cells, rows))) for title, rows in sections(table)]
    by_count = {row.name: row.by_target_count for row in table.rows if row.by_target_count}
    if by_count:
        title = f"{table.dataset.name}: test {table.metric} of {table.reference} and differences to it, "
        groups = next(iter(by_count.values()))
        heads = ["variant", *(f"{name} ({group.num_targets:,} targets)" for name, group in groups.items())]
        lines = [
            [name, *(str(each.test) if name == table.reference else _describe(each.difference) for each in by.values())]
            for name, by in by_count.items()
        ]
        found.append((title + slice_title(TARGET_COUNT), heads, lines))
    return found


def columns(table: AblationTable) -> list[str]:
    """Heads of the columns."""
    tests = dict.fromkeys((table.metric, "hit@10"))
    return [
        "variant",
        "seeds",
        f"validation {table.metric}",
        *(f"test {metric}" for metric in tests),
        f"difference to {table.reference}",
    ]


def cells(row: Row) -> list[str]:
    """One line of a table."""
    return [
        row.name,
        str(len(row.seeds)) if row.seeds else "–",
        str(row.validation),
        *map(str, row.test.values()),
        _describe(row.difference),
    ]


def _row(name: str, system: Measured, base: Measured | None, metric: str, samples: int, groups: Sequence[Group]) -> Row:
    paired = tuple(seed for seed in base.seeds if not system.seeds or seed in system.seeds) if base else ()

    def compare_at(targets: slice | Int64[np.ndarray, "G"]) -> Estimate | None:
        if not (base and paired):
            return None
        own, other = (_per_user(ranks.of_seeds(paired)[:, targets], metric) for ranks in (system, base))
        return paired_difference(own, other, samples)

    return Row(
        name=name,
        description=system.description,
        settings=system.settings,
        seeds=list(system.seeds),
        validation=_spread(system.validation, metric),
        test={each: _spread(system.test, each) for each in dict.fromkeys((metric, "hit@10"))},
        difference=compare_at(slice(None)),
        paired_seeds=list(paired),
        by_target_count={
            group.name: GroupOutcome(
                num_targets=len(group.positions),
                test=_spread(system.test[:, group.positions], metric),
                difference=compare_at(group.positions),
            )
            for group in groups
        },
        expert_weights=system.expert_weights,
        seconds=system.seconds,
    )


def _per_user(ranks: Int64[np.ndarray, "S T 2"], metric: str) -> Float64[np.ndarray, "T"]:
    values: np.ndarray = np.mean([per_user_metrics(rank)[metric] for rank in ranks], axis=0)
    return values


def _spread(ranks: Int64[np.ndarray, "S T 2"], metric: str) -> Spread:
    values = [float(per_user_metrics(rank)[metric].mean()) for rank in ranks]
    return Spread(mean=float(np.mean(values)), std=float(np.std(values, ddof=1)) if len(values) > 1 else None)


def _describe(difference: Estimate | None) -> str:
    if difference is None:
        return "–"
    low, high = difference.ci95
    return f"{difference.value:+.4f} [{low:+.4f}, {high:+.4f}]{' *' if difference.excludes_zero else ''}"


def _markdown(table: AblationTable) -> str:
    lines = ["# Ablation", ""]
    for title, heads, rows in tables(table):
        shown = [[escape_markdown(cell) for cell in line] for line in (heads, *rows)]
        lines += [f"## {escape_markdown(title)}", "", make_table(shown[0], shown[1:]), ""]
    lines += [escape_markdown(LEGEND), "", f"Data set digest `{table.dataset.digest[:8]}`.", ""]
    lines += [
        f"* {make_code_span(row.name)}: {escape_markdown(row.description)}{_list_settings(row)}." for row in table.rows
    ]
    lines += [f"* {escape_markdown(note)}." for note in table.notes]
    failures = [f"* {escape_markdown(f'{unit}: {error}')}" for unit, error in table.failures.items()]
    return "\n".join([*lines, *(["", "## Failed", "", *failures] if failures else [])]) + "\n"


def _list_settings(row: Row) -> str:
    settings = ", ".join(f"{key}: {value}" for key, value in row.settings.items())
    return f" ({make_code_span(settings)})" if settings else ""
