"""`ur4rec registry`: what the commands print, and their exit codes."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient
from toy_versions import add, client, history, model_id
from typer.testing import CliRunner

from ur4rec.cli import app
from ur4rec.registry.champion.history import History, MoveKind
from ur4rec.registry.champion.lock import find_claims, place_claim, withdraw_claim
from ur4rec.registry.champion.move import plan_move

pytest_plugins = ["trained_toys"]

__all__ = ["add", "client", "history", "model_id"]
runner = CliRunner(env={"COLUMNS": "250", "TERM": "dumb", "NO_COLOR": "1"})


@pytest.fixture
def ask(tracking_uri: str) -> Callable[..., tuple[int, str]]:
    """Runs a command; returns its exit code and its output on one line."""

    def ask(*words: str) -> tuple[int, str]:
        result = runner.invoke(app, ["registry", *words, "--tracking-uri", tracking_uri])
        return result.exit_code, " ".join(result.output.split())

    return ask


def test_the_life_of_three_versions(
    ask: Callable[..., tuple[int, str]], client: MlflowClient, add: Callable[..., str]
) -> None:
    client.set_registered_model_alias("ur4rec", "challenger", add())
    assert ask("promote", "--dry-run") == (0, "ur4rec: version 1 would become the champion, after none")
    assert ask("promote") == (0, "ur4rec: version 1 is now the champion, after none")
    assert ask("promote") == (0, "ur4rec: version 1 is the champion already")
    add("failed", "1")
    code, output = ask("promote", "2")
    assert code == 1
    assert output.startswith("Refused: version 2 did not pass the gate (failed)")
    assert ask("promote", "2", "--force") == (
        2,
        'Error: --force needs a reason for the history, such as --reason "agreed with Ann"',
    )
    assert ask("promote", "2", "--force", "--reason", "agreed")[0] == 0
    client.set_registered_model_alias("ur4rec", "champion", add("passed", "2"))
    code, output = ask("history")
    assert code == 0
    assert "moved by hand" in output
    assert "agreed" in output
    assert "champion: version 3 way back: 1 → 2 → 3" in output
    assert ask("rollback", "--steps", "2", "--reason", "complaints") == (
        0,
        "ur4rec: version 1 is now the champion, after 3",
    )
    assert "complaints" in ask("history")[1]
    code, output = ask("rollback")
    assert code == 1
    assert output.startswith("Refused: ur4rec: --steps 1 goes back to no champion; the way back is 1")


def test_the_anchor_is_the_champion_or_the_version_named(
    ask: Callable[..., tuple[int, str]], client: MlflowClient, add: Callable[..., str]
) -> None:
    client.set_registered_model_alias("ur4rec", "champion", add())
    add()
    assert ask("anchor") == (0, "ur4rec: version 1 is now the anchor, after none")
    assert ask("anchor", "2") == (0, "ur4rec: version 2 is now the anchor, after 1")
    assert str(client.get_model_version_by_alias("ur4rec", "anchor").version) == "2"
    code, output = ask("anchor", "7")
    assert code == 2
    assert "7" in output


def test_a_move_under_way_is_shown_and_waited_for(
    ask: Callable[..., tuple[int, str]],
    client: MlflowClient,
    add: Callable[..., str],
    history: Callable[[], History],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add()
    claim = place_claim(client, "ur4rec", 1, plan_move(MoveKind.PROMOTION, "1", history(), ""))
    code, output = ask("history")
    assert code == 0
    assert "under way, or else: the promotion of version 1 by " in output
    assert find_claims(client, "ur4rec")
    assert claim is not None
    ending = SimpleNamespace(sleep=lambda seconds: withdraw_claim(client, claim))
    monkeypatch.setattr("ur4rec.registry.champion.move.time", ending)
    code, output = ask("promote", "1")
    assert code == 0
    waiting = (
        f"ur4rec: waiting for the {claim.move.describe()}, which is under way or was interrupted; for 30 s at most"
    )
    assert output == f"{waiting} ur4rec: version 1 is now the champion, after none"


def test_a_move_that_was_killed_before_its_record_is_shown_once_and_as_its_own(
    ask: Callable[..., tuple[int, str]], client: MlflowClient, add: Callable[..., str], history: Callable[[], History]
) -> None:
    add()
    claim = place_claim(client, "ur4rec", 1, plan_move(MoveKind.PROMOTION, "1", history(), "agreed with Ann"))
    assert claim is not None
    client.set_registered_model_alias("ur4rec", "champion", "1")
    code, output = ask("history")
    assert code == 0
    assert "moved by hand" not in output
    assert output.count("agreed with Ann") == 1
    assert f"the {claim.move.describe()} was interrupted after the alias had moved, so it happened" in output
    assert history().number == 0


def test_a_list_a_version_and_a_comparison(
    ask: Callable[..., tuple[int, str]], client: MlflowClient, add: Callable[..., str]
) -> None:
    for number in (1, 2):
        run = client.create_run("0")
        client.log_param(run.info.run_id, "sasrec_lr", 0.1 * number)
        for suffix, value in (("", 0.2), ("_ci95_low", 0.15), ("_ci95_high", 0.25)):
            client.log_metric(run.info.run_id, f"test/UR4RecV2MoE/ndcg_at_10{suffix}", value + 0.01 * number)
        tags = {"ur4rec.test_ndcg_at_10": "0.210000", "ur4rec.dataset_digest": f"digest{number}", "note": "same"}
        client.create_model_version("ur4rec", "models", run_id=run.info.run_id, tags=tags)
    client.set_registered_model_alias("ur4rec", "champion", "1")
    code, output = ask("list")
    assert code == 0
    assert output.index("digest2") < output.index("digest1")
    assert "0.2100" in output
    code, output = ask("show", "champion")
    assert code == 0
    assert "models:/ur4rec/1" in output
    assert "gone or unreadable: it cannot be served" in output
    code, output = ask("compare", "champion", "2")
    assert code == 0
    assert "0.2100 │ 0.2200 │ 0.1600 to 0.2600 │ 0.1700 to 0.2700" in output
    assert "sasrec_lr │ 0.1 │ 0.2" in output
    assert "note" not in output
    assert "measured on different data" in output


def test_a_list_breaks_no_word_on_a_narrow_terminal(
    client: MlflowClient, add: Callable[..., str], tracking_uri: str
) -> None:
    tags = {"ur4rec.dataset": "ml-100k", "ur4rec.dataset_digest": "42173cace1ec", "ur4rec.gate_verdict": "passed"}
    promoted = {"ur4rec.promoted_at": "2026-01-31 10:00:00 UTC", "ur4rec.test_ndcg_at_10": "0.210000"}
    client.create_model_version("ur4rec", "models", tags=tags | promoted)
    for alias in ("challenger", "champion"):
        client.set_registered_model_alias("ur4rec", alias, "1")
    output = runner.invoke(app, ["registry", "list", "--tracking-uri", tracking_uri], env={"COLUMNS": "80"}).output
    words = {"challenger", "champion", "registered", "ml-100k", "42173cac", "0.2100", "passed", "2026-01-31", "10:00"}
    assert words <= set(output.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("promote", "9"), "not found"),
        (("show", "nobody"), "alias nobody not found"),
        (("compare", "1", "9"), "not found"),
        (("rollback", "--steps", "0"), "Input should be greater than or equal to 1"),
    ],
)
def test_what_is_not_there_is_named_with_exit_code_2(
    ask: Callable[..., tuple[int, str]], add: Callable[..., str], words: tuple[str, ...], message: str
) -> None:
    add()
    code, output = ask(*words)
    assert code == 2
    assert message in " ".join(output.replace("│", " ").split())


def test_no_database_is_not_made_by_asking(tmp_path: Path) -> None:
    result = runner.invoke(app, ["registry", "list", "--tracking-uri", f"sqlite:///{tmp_path}/none.db"])
    assert result.exit_code == 2
    assert "not found; register a model first" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["results.json", "report.html"])
def test_registering_what_an_old_script_trained_names_outputs(tmp_path: Path, missing: str) -> None:
    for name in ("sequences", "checkpoint", "memories", "outputs"):
        (tmp_path / name).mkdir()
    (tmp_path / "outputs" / ({"results.json", "report.html"} - {missing}).pop()).touch()
    folders = [str(tmp_path / name) for name in ("sequences", "checkpoint", "memories")]
    result = runner.invoke(app, ["register", *folders, "--outputs", str(tmp_path / "outputs")])
    assert result.exit_code == 2
    assert f"--outputs {tmp_path}/outputs: holds no {missing}; name the folder of this model's" in result.stderr
    assert "the --output_dir of a training script" in result.stderr
