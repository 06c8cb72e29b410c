"""What the end of a retrain does with a registered model, by verdict and configuration."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from toy_registration import make_registration
from toy_versions import add, client, history, model_id

from ur4rec.registry.champion.history import History
from ur4rec.registry.champion.promotion import roll_back
from ur4rec.registry.champion.retrain import Ending, RetrainOutcome, conclude_retrain
from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.gate.verdict import RuleOutcome, Verdict, write_verdict
from ur4rec.registry.mlflow_client import RegistryError

__all__ = ["add", "client", "history", "model_id"]
AUTOMATIC = RegistryConfig(promote_automatically=True)


@pytest.fixture
def conclude(tracking_uri: str, tmp_path: Path) -> Callable[..., RetrainOutcome]:
    """Ends a retrain that registered a version; `verdict` is what the gate said of it."""

    def conclude(
        version: str,
        verdict: str = "passed",
        champion: str = "none",
        config: RegistryConfig = AUTOMATIC,
        judged: str | None = None,
    ) -> RetrainOutcome:
        registration = make_registration(version, tracking_uri)
        (tmp_path / "registration.json").write_text(registration.model_dump_json())
        write_verdict(make_verdict(judged or version, verdict, champion), tmp_path / "verdict.json")
        return conclude_retrain(
            tmp_path / "registration.json",
            tmp_path / "verdict.json",
            config,
            tmp_path / "outcome.json",
            tmp_path / "summary.md",
            tracking_uri,
        )

    return conclude


def make_verdict(version: str, verdict: str, champion: str) -> Verdict:
    outcomes = [RuleOutcome(rule="floor", outcome=verdict), RuleOutcome(rule="slices", outcome="passed")]
    return Verdict(
        verdict=verdict,
        model_name="ur4rec",
        challenger=version,
        champion=champion,
        anchor="none",
        decided_at="2026-01-31T10:00:00+00:00",
        test_digest="d",
        population="later",
        num_users=9,
        rules_digest="r",
        rules={},
        outcomes=outcomes,
        notes=[],
    )


def test_the_first_model_and_a_better_one_are_promoted_where_the_configuration_says_so(
    conclude: Callable[..., RetrainOutcome],
    add: Callable[..., str],
    history: Callable[[], History],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = conclude(add())
    assert (first.ending, first.champion) == (Ending.PROMOTED, "1")
    assert first.notice == "ur4rec version 1 passed the gate and is now the champion, after none"
    assert capsys.readouterr().out == f"notice {first.notice}\n"
    assert json.loads((tmp_path / "outcome.json").read_text())["ending"] == "promoted"
    assert (tmp_path / "summary.md").read_text() == f"# ur4rec version 1: promoted\n\n{first.notice}\n"
    assert conclude(add("passed", "1"), champion="1").champion == "2"
    assert history().champions == ["1", "2"]
    assert "promote_automatically" in history().moves[2].reason


def test_without_leave_it_waits_and_the_notice_names_the_command(
    conclude: Callable[..., RetrainOutcome], add: Callable[..., str], history: Callable[[], History]
) -> None:
    waiting = conclude(add(), config=RegistryConfig())
    assert (waiting.ending, waiting.champion) == (Ending.WAITS, "none")
    assert "waits as challenger; `ur4rec registry promote 1` makes it the champion" in waiting.notice
    assert history().number == 0


def test_who_listens_is_told_what_became_of_a_model(
    conclude: Callable[..., RetrainOutcome], add: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str]] = []
    monkeypatch.setattr("ur4rec.registry.champion.retrain.notify", lambda event, text: told.append((event, text)))
    outcomes = [conclude(add("failed"), "failed"), conclude(add(), config=RegistryConfig()), conclude(add())]
    assert told == [(outcome.ending, outcome.notice) for outcome in outcomes]
    assert [event for event, _ in told] == [Ending.FAILED, Ending.WAITS, Ending.PROMOTED]
    assert conclude("3").ending is Ending.CHAMPION
    assert len(told) == 3, "a task that is tried again has told it already"


def test_what_failed_stays_the_challenger(
    conclude: Callable[..., RetrainOutcome], add: Callable[..., str], history: Callable[[], History]
) -> None:
    failed = conclude(add("failed"), "failed")
    assert failed.ending is Ending.FAILED
    assert failed.notice == "ur4rec version 1 failed the gate (floor): it stays challenger"
    assert failed.numbers() == {"version": 1.0, "promoted": 0.0}
    assert history().number == 0


def test_a_retried_task_finds_its_work_done_and_does_not_undo_a_rollback(
    conclude: Callable[..., RetrainOutcome], add: Callable[..., str], history: Callable[[], History], tracking_uri: str
) -> None:
    conclude(add())
    version = add("passed", "1")
    conclude(version, champion="1")
    assert conclude(version, champion="1").ending is Ending.CHAMPION
    roll_back(AUTOMATIC, tracking_uri=tracking_uri, patience_s=0)
    again = conclude(version, champion="1")
    assert again.ending is Ending.REFUSED
    assert "version 2 has been rolled back" in again.notice
    assert history().champion == "1"


def test_an_older_model_does_not_replace_a_newer_one(
    conclude: Callable[..., RetrainOutcome], add: Callable[..., str], history: Callable[[], History]
) -> None:
    old, new = add("passed", "2"), add()
    conclude(new)
    kept = conclude(old, champion="2")
    assert kept.ending is Ending.REFUSED
    assert kept.notice == "ur4rec version 1 passed the gate, but the champion is version 2, which is newer"
    assert history().champion == "2"


def test_a_champion_that_changed_since_the_gate_is_not_replaced(
    conclude: Callable[..., RetrainOutcome],
    add: Callable[..., str],
    history: Callable[[], History],
    client: MlflowClient,
) -> None:
    conclude(add())
    version = add("passed", "1")
    add()
    client.set_registered_model_alias("ur4rec", "champion", "3")
    client.delete_model_version("ur4rec", "3")
    overtaken = conclude(version, champion="1")
    assert overtaken.ending is Ending.REFUSED
    assert "passed the gate against champion 1, which is now none" in overtaken.notice


def test_a_verdict_on_another_version_is_an_error(
    conclude: Callable[..., RetrainOutcome], add: Callable[..., str]
) -> None:
    add()
    with pytest.raises(RegistryError, match="is on ur4rec version 7, expected ur4rec version 1; run the gate again"):
        conclude("1", judged="7")
