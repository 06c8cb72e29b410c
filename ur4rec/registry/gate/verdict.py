"""The verdict of the gate, and why: as JSON, as tags of the version, as Markdown."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from ur4rec.evaluation.results import explain_problems
from ur4rec.markdown import escape_markdown
from ur4rec.storage.artifacts import write_text_atomic

PASSED: Literal["passed"] = "passed"
FAILED: Literal["failed"] = "failed"
MARKS = {PASSED: "✓ passed", FAILED: "✗ **failed**"}
NOBODY = "none"
"""Stands for a champion or anchor that there is not."""

TAG_VERDICT = "ur4rec.gate_verdict"
TAG_CHAMPION = "ur4rec.gate_champion"
TAG_AT = "ur4rec.gate_at"
TAG_DIGEST = "ur4rec.gate_digest"
TAG_TEST_DIGEST = "ur4rec.gate_test_digest"
TAG_RULES_DIGEST = "ur4rec.gate_rules_digest"

Decision = Literal["passed", "failed"]


class VerdictError(ValueError):
    """A verdict file that is missing or not one."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class RuleOutcome(_Part):
    """One rule, what was measured and what it came to."""

    rule: str
    outcome: str = Field(pattern=r"^(passed|failed|skipped: .+)$")
    value: FiniteFloat | None = None
    """None: there is no number, or none that is finite; the detail says which."""
    threshold: FiniteFloat | None = None
    detail: str = ""
    """One sentence for people."""

    @property
    def failed(self) -> bool:
        """Whether this rule alone refuses the challenger."""
        return self.outcome == FAILED


class Verdict(_Part):
    """The decision on one version."""

    verdict: Decision
    model_name: str
    challenger: str
    """Version."""
    champion: str
    """Version it was compared with; `none` where no version has the alias."""
    anchor: str
    """Version of the anchor, or `none`."""
    decided_at: str
    """ISO 8601, UTC."""
    test_digest: str
    """Content digest of the sequences whose targets were ranked."""
    population: Literal["later", "unseen", "none"]
    """Targets later than all training, or those that no training saw; `none`: nothing was ranked."""
    num_users: int
    """Users whose targets were ranked."""
    rules_digest: str
    rules: dict[str, Any]
    """Those in force when this was decided."""
    outcomes: list[RuleOutcome]
    notes: list[str]

    @property
    def passed(self) -> bool:
        """Whether the challenger may be promoted."""
        return self.verdict == PASSED

    @property
    def failures(self) -> list[RuleOutcome]:
        """Rules that refuse the challenger."""
        return [outcome for outcome in self.outcomes if outcome.failed]

    @property
    def digest(self) -> str:
        """sha256 of the JSON file's text."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Write the text of the JSON file."""
        return self.model_dump_json(indent=2) + "\n"

    def tags(self) -> dict[str, str]:
        """Make the tags of the challenger's version."""
        return {
            TAG_VERDICT: self.verdict,
            TAG_CHAMPION: self.champion,
            TAG_AT: self.decided_at,
            TAG_DIGEST: self.digest,
            TAG_TEST_DIGEST: self.test_digest,
            TAG_RULES_DIGEST: self.rules_digest,
        }

    def numbers(self) -> dict[str, float]:
        """Return measured values by rule, for a dashboard; rules without a number are left out."""
        values = {outcome.rule: outcome.value for outcome in self.outcomes if outcome.value is not None}
        return {"num_users": float(self.num_users), "failed_rules": float(len(self.failures)), **values}


def decide(outcomes: Iterable[RuleOutcome]) -> Decision:
    """Pass where no rule failed; it is one of two words, so that a condition never meets a NaN."""
    return FAILED if any(outcome.failed for outcome in outcomes) else PASSED


def write_verdict(verdict: Verdict, path: Path) -> None:
    """Write the JSON file; it appears complete or not at all."""
    write_text_atomic(Path(path), verdict.to_json())


def load_verdict(path: Path) -> Verdict:
    """Read what `write_verdict` wrote.

    Raises:
        VerdictError: The file is missing, or a key is missing, unknown or wrong; names both.
    """
    path = Path(path)
    if not path.is_file():
        raise VerdictError(f"{path}: not found; expected the verdict that `ur4rec registry gate` writes")
    try:
        return Verdict.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise VerdictError(f"{path}: {explain_problems(error)}; run the gate again") from None


def render_markdown(verdict: Verdict) -> str:
    """Write the decision, then a row a rule."""
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
    """Write four digits after the point, none for a whole number, and nothing for no number."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value.is_integer() else f"{value:,.4f}"


def _row(outcome: RuleOutcome) -> str:
    mark = MARKS.get(outcome.outcome) or escape_markdown(outcome.outcome)
    numbers = (format_number(outcome.value), format_number(outcome.threshold))
    return "| " + " | ".join((outcome.rule, mark, *numbers, escape_markdown(outcome.detail))) + " |"
