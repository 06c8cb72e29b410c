from pathlib import Path
from typing import Any

import pytest
from markdown_views import ODD_NAMES, as_shown, list_tags, read_page, show_markdown
from pydantic import ValidationError

from ur4rec.registry.gate.verdict import (
    RuleOutcome,
    Verdict,
    VerdictError,
    decide,
    format_number,
    load_verdict,
    render_markdown,
    write_verdict,
)

OUTCOMES = [
    RuleOutcome(rule="floor", outcome="passed", value=0.12, threshold=0.01, detail="ndcg@10"),
    RuleOutcome(rule="champion", outcome="failed", value=-0.2, threshold=-0.1, detail="a | b"),
    RuleOutcome(rule="anchor", outcome="skipped: no version has the anchor's alias"),
]


def make(**changes: Any) -> Verdict:
    values = {
        "verdict": "failed",
        "model_name": "ur4rec",
        "challenger": "3",
        "champion": "2",
        "anchor": "none",
        "decided_at": "2026-01-31T10:00:00+00:00",
        "test_digest": "ab" * 32,
        "population": "unseen",
        "num_users": 943,
        "rules_digest": "cd" * 32,
        "rules": {"level": 0.1},
        "outcomes": OUTCOMES,
        "notes": ["a note"],
    }
    return Verdict(**values | changes)


def test_one_failed_rule_fails_and_a_skipped_one_does_not() -> None:
    assert decide(OUTCOMES) == "failed"
    assert decide(OUTCOMES[::2]) == "passed"


def test_save_and_load(tmp_path: Path) -> None:
    write_verdict(make(), tmp_path / "new/verdict.json")
    loaded = load_verdict(tmp_path / "new/verdict.json")
    assert loaded == make()
    assert loaded.digest == make().digest
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["verdict.json"]


def test_the_digest_is_of_the_files_bytes(tmp_path: Path) -> None:
    import hashlib

    write_verdict(make(), tmp_path / "verdict.json")
    assert make().digest == hashlib.sha256((tmp_path / "verdict.json").read_bytes()).hexdigest()
    assert make(num_users=944).digest != make().digest


def test_tags_are_text() -> None:
    assert make().tags() == {
        "ur4rec.gate_verdict": "failed",
        "ur4rec.gate_champion": "2",
        "ur4rec.gate_at": "2026-01-31T10:00:00+00:00",
        "ur4rec.gate_digest": make().digest,
        "ur4rec.gate_test_digest": "ab" * 32,
        "ur4rec.gate_rules_digest": "cd" * 32,
    }


def test_numbers_leave_out_what_has_none() -> None:
    assert make().numbers() == {"num_users": 943, "failed_rules": 1, "floor": 0.12, "champion": -0.2}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_outcome_holds_a_nan(value: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        RuleOutcome(rule="floor", outcome="passed", value=value)


@pytest.mark.parametrize("outcome", ["ok", "skipped", "skipped: ", "Passed", ""])
def test_outcomes_are_explicit(outcome: str) -> None:
    with pytest.raises(ValidationError, match="outcome\n"):
        RuleOutcome(rule="floor", outcome=outcome)


def test_what_is_no_verdict_is_named(tmp_path: Path) -> None:
    with pytest.raises(VerdictError, match=r"verdict\.json: not found"):
        load_verdict(tmp_path / "verdict.json")
    (tmp_path / "verdict.json").write_text('{"verdict": "maybe"}')
    with pytest.raises(VerdictError, match=r"verdict\.json: verdict: .*'passed' or 'failed'.*run the gate again"):
        load_verdict(tmp_path / "verdict.json")


def test_the_markdown_is_a_table_with_a_row_a_rule() -> None:
    text = render_markdown(make())
    assert text.startswith("# Gate: ur4rec version 3 failed\n\nAgainst champion version 2, on 943 users")
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert rows == [
        "| floor | ✓ passed | 0.1200 | 0.0100 | ndcg@10 |",
        "| champion | ✗ **failed** | -0.2000 | -0.1000 | a \\| b |",
        "| anchor | skipped: no version has the anchor's alias |  |  |  |",
    ]
    assert "* a note" in text


@pytest.mark.parametrize(("value", "text"), [(943.0, "943"), (2000.0, "2,000"), (0.25, "0.2500"), (None, "")])
def test_whole_numbers_have_no_fraction(value: float | None, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize("name", ODD_NAMES)
def test_what_a_rule_or_a_note_says_is_shown_as_it_is(name: str) -> None:
    outcomes = [RuleOutcome(rule="floor", outcome="failed", detail=name)]
    page = show_markdown(render_markdown(make(outcomes=outcomes, notes=[name])))
    plain = show_markdown(render_markdown(make(outcomes=OUTCOMES[1:2], notes=["a note"])))
    assert list_tags(page) == list_tags(plain)
    assert f"failed {as_shown(name)} {as_shown(name)} test data" in read_page(page)
