"""A verdict for people: Markdown."""

from __future__ import annotations

from ur4rec.markdown import escape_markdown
from ur4rec.registry.gate.verdict import NOBODY, RuleOutcome, Verdict

MARKS = {"passed": "✓ passed", "failed": "✗ **failed**"}


def render_markdown(verdict: Verdict) -> str:
    """The decision, then a row a rule."""
    against = f"champion version {verdict.champion}" if verdict.champion != NOBODY else "no champion"
    anchor = f", anchor version {verdict.anchor}" if verdict.anchor != NOBODY else ""
    lines = [
        f"# Gate: {escape_markdown(verdict.model_name)} version {verdict.challenger} {verdict.verdict}",
        "",
        f"Against {against}{anchor}, on {verdict.num_users:,} users ({verdict.population} targets), "
        f"{verdict.decided_at}.",
        "",
        "| rule | outcome | value | threshold | |",
        "|---|---|---:|---:|---|",
        *(_row(outcome) for outcome in verdict.outcomes),
        "",
        *(f"* {escape_markdown(note)}" for note in verdict.notes),
        f"* test data `{verdict.test_digest[:12]}`, rules `{verdict.rules_digest[:12]}`, "
        f"verdict `{verdict.digest[:12]}`",
    ]
    return "\n".join(lines) + "\n"


def format_number(value: float | None) -> str:
    """Four digits after the point, none for a whole number, and nothing for no number."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value.is_integer() else f"{value:,.4f}"


def _row(outcome: RuleOutcome) -> str:
    mark = MARKS.get(outcome.outcome) or escape_markdown(outcome.outcome)
    numbers = (format_number(outcome.value), format_number(outcome.threshold))
    return "| " + " | ".join((outcome.rule, mark, *numbers, escape_markdown(outcome.detail))) + " |"
