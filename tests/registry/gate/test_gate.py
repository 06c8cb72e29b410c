"""The gate on versions of a real registry: a sqlite file, and a server process."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from chain_models import TOLERANT, make_rules
from chain_versions import register_chain, set_alias, tags_of
from registry_servers import running_server
from toy_registration import make_registration
from typer.testing import CliRunner

from ur4rec.cli import app
from ur4rec.data.sequences import Sequences
from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.gate.gate import gate_registered, gate_version
from ur4rec.registry.gate.verdict import Verdict, load_verdict
from ur4rec.registry.mlflow_client import RegistryError, open_mlflow
from ur4rec.storage.artifacts import ArtifactError, sha256_file


@pytest.fixture(scope="module")
def prepared(ring: Path, empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with versions 1 (half of the targets), 2 (more) and 3 (fewer); 1 is the champion, 3 the challenger."""
    folder = tmp_path_factory.mktemp("registry")
    (folder / "mlflow").mkdir()
    uri = f"sqlite:///{shutil.copyfile(empty_database, folder / 'mlflow/mlflow.db')}"
    for number, known in (("1", range(1, 21)), ("2", range(1, 31)), ("3", range(1, 13))):
        assert register_chain(uri, ring, folder / number, known) == number
    set_alias(uri, "champion", "1")
    return folder


@pytest.fixture
def uri(prepared: Path, tracking_uri: str, tmp_path: Path) -> str:
    """The prepared registry's database; its artifacts lie where it says."""
    shutil.copyfile(prepared / "mlflow/mlflow.db", tmp_path / "mlflow/mlflow.db")
    return tracking_uri


def gate(
    ring: Path, uri: str, version: str | None = None, config: RegistryConfig | None = None, **overrides: Any
) -> Verdict:
    return gate_version(ring, version, config or RegistryConfig(), make_rules(**overrides), uri)


def test_a_better_version_passes_and_carries_the_verdict(ring: Path, ring_data: Sequences, uri: str) -> None:
    verdict = gate(ring, uri, "2")
    assert (verdict.verdict, verdict.challenger, verdict.champion, verdict.anchor) == ("passed", "2", "1", "none")
    assert verdict.test_digest == ring_data.digest
    tags = tags_of(uri, "2")
    assert {key: tags[key] for key in verdict.tags()} == verdict.tags()
    with open_mlflow(uri) as client:
        run_id = client.get_model_version("ur4rec", "2").run_id
        stored = load_verdict(
            Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="gate/verdict.json"))
        )
        text = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="gate/summary.md")).read_text()
    assert stored == verdict
    assert text.startswith("# Gate: ur4rec version 2 passed")


def test_the_challenger_is_judged_by_default_and_a_worse_one_fails(ring: Path, uri: str) -> None:
    verdict = gate(ring, uri)
    assert (verdict.challenger, verdict.verdict) == ("3", "failed")
    assert "champion" in {each.rule for each in verdict.failures}
    assert tags_of(uri, "3")["ur4rec.gate_verdict"] == "failed"


def test_the_same_question_gets_the_same_answer(ring: Path, uri: str) -> None:
    first, second = gate(ring, uri), gate(ring, uri)
    timed = ("latency", "latency_over_champion")
    assert [each for each in first.outcomes if each.rule not in timed] == [
        each for each in second.outcomes if each.rule not in timed
    ]
    assert first.rules_digest == second.rules_digest
    assert tags_of(uri, "3")["ur4rec.gate_digest"] == second.digest


def test_without_a_champion_the_floor_decides(ring: Path, uri: str) -> None:
    verdict = gate(ring, uri, config=RegistryConfig(champion_alias="nobody"))
    assert (verdict.verdict, verdict.champion) == ("passed", "none")
    assert tags_of(uri, "3")["ur4rec.gate_champion"] == "none"


def test_the_anchor_is_compared_as_well(ring: Path, uri: str) -> None:
    set_alias(uri, "anchor", "2")
    verdict = gate(ring, uri, "1", RegistryConfig(champion_alias="nobody"))
    assert verdict.anchor == "2"
    assert [each.rule for each in verdict.failures] == ["anchor"]
    same = gate(ring, uri, "2", RegistryConfig(champion_alias="nobody"))
    assert same.passed


def test_the_champion_itself_is_not_judged_again(ring: Path, uri: str) -> None:
    gate(ring, uri, "2")
    before = tags_of(uri, "2")
    set_alias(uri, "champion", "2")
    verdict = gate(ring, uri, "2")
    assert verdict.passed
    assert [each.outcome for each in verdict.outcomes] == ["skipped: version 2 is the champion already"]
    assert tags_of(uri, "2") == before


def test_a_missing_version_or_alias_is_named(ring: Path, uri: str) -> None:
    with pytest.raises(RegistryError, match="no version has the alias 'next'; register a model first"):
        gate(ring, uri, config=RegistryConfig(challenger_alias="next"))
    with pytest.raises(RegistryError, match=r"ur4rec.*9.*not found"):
        gate(ring, uri, "9")
    with pytest.raises(RegistryError, match=r"alias next not found"):
        gate(ring, uri, "next")


def test_an_alias_names_the_version_to_judge(ring: Path, uri: str) -> None:
    set_alias(uri, "candidate", "2")
    assert gate(ring, uri, "candidate").challenger == "2"


def test_a_crash_while_the_verdict_is_stored_leaves_none(ring: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gate(ring, uri, "2")

    def crash(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mlflow.MlflowClient, "log_artifacts", crash)
    with pytest.raises(KeyboardInterrupt):
        gate(ring, uri, "2")
    assert "ur4rec.gate_verdict" not in tags_of(uri, "2")


def test_a_registration_names_the_version(ring: Path, uri: str, tmp_path: Path) -> None:
    (tmp_path / "registration.json").write_text(make_registration("2", uri).model_dump_json())
    paths = tmp_path / "out/verdict.json", tmp_path / "out/summary.md"
    config = RegistryConfig(registered_model_name="another")
    verdict = gate_registered(ring, tmp_path / "registration.json", config, make_rules(), *paths, uri)
    assert load_verdict(paths[0]) == verdict
    assert verdict.challenger == "2"
    assert "| champion | ✓ passed |" in paths[1].read_text()
    with pytest.raises(ArtifactError, match=r"nowhere\.json: not found; register a model first"):
        gate_registered(ring, tmp_path / "nowhere.json", config, make_rules(), *paths, uri)


@pytest.mark.parametrize(("version", "code", "word"), [("2", 0, "passed"), ("3", 1, "failed: champion")])
def test_the_command_ends_with_the_verdict(
    ring: Path, uri: str, tmp_path: Path, version: str, code: int, word: str
) -> None:
    options = [f"--set={key}={value}" for key, value in TOLERANT.items()]
    arguments = ["registry", "gate", str(ring), "--version", version, "--tracking-uri", uri, "-o", "verdict.json"]
    result = CliRunner().invoke(app, [*arguments, *options], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    assert "ur4rec version" in result.stdout
    assert word in result.stdout.splitlines()[-1]
    assert json.loads((tmp_path / "verdict.json").read_text())["challenger"] == version


def test_the_command_names_a_wrong_rule(ring: Path, uri: str) -> None:
    result = CliRunner().invoke(app, ["registry", "gate", str(ring), "--tracking-uri", uri, "--set", "levl=0.2"])
    assert result.exit_code == 2
    assert "rules: unknown key 'levl', did you mean 'level'?" in " ".join(result.stderr.split())


def test_the_command_takes_the_names_of_the_registry_among_the_rules(ring: Path, uri: str) -> None:
    options = ["--set", "registered_model_name=songs", "--set", "level=0.1"]
    result = CliRunner().invoke(app, ["registry", "gate", str(ring), "--tracking-uri", uri, *options])
    assert result.exit_code == 2
    assert "songs" in result.stderr
    assert "unknown key" not in result.stderr


@pytest.fixture
def server(tracking_uri: str, tmp_path: Path, free_port: int) -> Iterator[str]:
    """A real server with its own store; yields its address."""
    with running_server(tracking_uri, str(tmp_path / "store"), free_port, tmp_path / "server.log") as started:
        yield started.address


@pytest.mark.server
def test_champions_on_a_server(server: str, ring: Path, tmp_path: Path) -> None:
    """Nobody, a better one, and one whose artifacts are gone from the store."""
    register_chain(server, ring, tmp_path / "1", range(1, 21))
    assert gate(ring, server).champion == "none"
    set_alias(server, "champion", "1")
    register_chain(server, ring, tmp_path / "2", range(1, 13))
    worse = gate(ring, server)
    assert (worse.verdict, worse.champion) == ("failed", "1")
    assert tags_of(server, "2")["ur4rec.gate_verdict"] == "failed"
    bundle = tmp_path / "1/bundle/manifest.json"
    (gone,) = [
        path for path in (tmp_path / "store").rglob("bundle/manifest.json") if sha256_file(path) == sha256_file(bundle)
    ]
    shutil.rmtree(gone.parent)
    refused = gate(ring, server)
    assert [each.rule for each in refused.failures] == ["champion_scored"]
    assert "version 1 cannot be scored: its artifacts are gone" in refused.failures[0].detail
    assert gate(ring, server, champion_unscorable="floor_only").passed
