"""From an alias in the registry to a model that training starts from, and the first tasks of the pipeline with it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kfp import compiler, dsl
from present import present
from registry_servers import running_server
from toy_runs import Registered, Trained
from typer.testing import CliRunner

from components.preprocess_sequences import preprocess_sequences
from components.pretrain_sasrec import pretrain_sasrec
from components.resolve_warm_start import resolve_warm_start as resolve_task
from pipelines.local_run import LocalRun, execute
from pipelines.tasks import Status
from ur4rec.cli import app
from ur4rec.local import train_all
from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.mlflow_client import RegistryError, open_mlflow
from ur4rec.registry.register import register_model
from ur4rec.registry.served_code import BUNDLE_PATH
from ur4rec.registry.versions import TAG_WARM_START
from ur4rec.registry.warm_start import open_warm_start, resolve_warm_start
from ur4rec.storage.artifacts import read_artifact
from ur4rec.terminal import PlainConsole
from ur4rec.training.checkpoints import read_origin
from ur4rec.training.config import StageConfig
from ur4rec.training.warm_start import WarmStartError

CHAMPION = RegistryConfig(warm_start="champion")


@pytest.fixture
def champion(registered: Registered) -> Iterator[Registered]:
    """Version 1 in the place of the champion."""
    with open_mlflow(registered.tracking_uri) as client:
        client.set_registered_model_alias("ur4rec", "champion", "1")
        yield registered
        client.delete_registered_model_alias("ur4rec", "champion")


def test_an_alias_becomes_a_version_and_the_digest_of_its_bundle(
    champion: Registered, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resolved = resolve_warm_start(CHAMPION, champion.tracking_uri)
    address, _, digest = resolved.warm_start.partition("#")
    assert (address, resolved.tracking_uri) == ("models:/ur4rec/1", champion.tracking_uri)
    assert capsys.readouterr().out == "warm start: champion is models:/ur4rec/1\n"
    with open_mlflow(champion.tracking_uri):
        import mlflow.artifacts

        bundle = mlflow.artifacts.download_artifacts(f"{address}/{BUNDLE_PATH}", dst_path=str(tmp_path))
    assert digest == read_artifact(Path(bundle)).content_digest
    assert resolve_warm_start(RegistryConfig(warm_start="1"), champion.tracking_uri) == resolved
    start = present(open_warm_start(resolved.warm_start, champion.tracking_uri))
    assert (start.name, start.digest) == (address, digest)
    assert present(open_warm_start("models:/ur4rec@champion", champion.tracking_uri)).name == address


def test_what_changed_since_it_was_resolved_is_refused(champion: Registered) -> None:
    with pytest.raises(WarmStartError, match="models:/ur4rec/1: its files are not those that were resolved"):
        open_warm_start("models:/ur4rec/1#0123", champion.tracking_uri)


def test_switched_off_nothing_is_asked() -> None:
    assert resolve_warm_start(RegistryConfig(), "http://127.0.0.1:1") == ("", "")
    assert open_warm_start("", "http://127.0.0.1:1") is None


def test_before_the_first_registration_and_the_first_promotion_training_begins_from_scratch(
    tracking_uri: str, registered: Registered, capsys: pytest.CaptureFixture[str]
) -> None:
    for uri in (tracking_uri, registered.tracking_uri):
        assert resolve_warm_start(CHAMPION, uri) == ("", "")
        line = "warm start: no version of ur4rec is champion yet, training begins from scratch\n"
        assert capsys.readouterr().out == line


def test_a_number_that_does_not_exist_is_an_error(registered: Registered) -> None:
    with pytest.raises(RegistryError, match="`ur4rec registry list` shows the versions"):
        resolve_warm_start(RegistryConfig(warm_start="7"), registered.tracking_uri)


def test_the_command_starts_from_an_option_or_from_the_setting(
    champion: Registered, trained: Trained, tmp_path: Path
) -> None:
    config = {name: value for name, value in trained.config.to_dict().items() if name in StageConfig.model_fields}
    (tmp_path / "toy.yaml").write_text(json.dumps(config))
    command = ["train", str(trained.sequences), "--stage", "pretrain_sasrec", "--config", str(tmp_path / "toy.yaml")]
    command += ["--tracking-uri", champion.tracking_uri]
    given = (["--warm-start", "models:/ur4rec@champion"], ["--set", "warm_start=champion"])
    for number, options in enumerate((*given, ["--set", "warm_start=champion", "--warm-start", ""])):
        output = tmp_path / str(number)
        result = CliRunner().invoke(app, [*command, *options, "-o", str(output)])
        assert result.exit_code == 0, result.output
        origin = read_origin(output / "checkpoint")
        assert (origin and origin.name) == ("models:/ur4rec/1" if number < 2 else None)
    wrong = CliRunner().invoke(app, [*command, *given[0], "--set", "sasrec_num_blocks=2", "-o", str(tmp_path / "3")])
    assert wrong.exit_code == 2
    message = "models:/ur4rec/1: sasrec_num_blocks: it has 1, this configuration has 2; set sasrec_num_blocks to 1"
    assert message in " ".join(wrong.output.split())
    embeddings = str(trained.sequences.with_name("embeddings"))
    later = [*command, embeddings, "--stage", "pretrain_retriever", "--previous", str(tmp_path / "0"), *given[0]]
    refused = CliRunner().invoke(app, [*later, "-o", str(tmp_path / "4")])
    assert refused.exit_code == 2
    assert "stage pretrain_retriever: cannot start from models:/ur4rec/1" in " ".join(refused.output.split())


@dsl.pipeline(name="start")
def start_of_training(
    interactions: str,
    data_config: dict[str, Any],
    sasrec_config: dict[str, Any],
    registry_config: dict[str, Any],
    tracking_uri: str = "",
) -> None:
    """The tasks up to the first stage, wired as in the training."""
    preprocessed = preprocess_sequences(
        interactions=interactions, items="", data_digest="", code_digest="", config=data_config
    )
    resolved = resolve_task(config=registry_config, tracking_uri=tracking_uri).set_caching_options(False)
    pretrain_sasrec(
        code_digest="",
        config=sasrec_config,
        device="cpu",
        state="",
        warm_start=resolved.outputs["warm_start"],
        tracking_uri=resolved.outputs["tracking_uri"],
        sequences=preprocessed.outputs["sequences"],
    )


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_scheduled_run_starts_from_the_champion_of_the_day(
    tracking_uri: str, trained: Trained, tmp_path: Path, free_port: int
) -> None:
    """For real: the same arguments every time, a server of MLflow, and a model that was registered in between."""
    compiler.Compiler().compile(start_of_training, str(tmp_path / "start.yaml"))
    with running_server(tracking_uri, str(tmp_path / "store"), free_port, tmp_path / "server.log") as server:
        training = {name: trained.config.to_dict()[name] for name in StageConfig.model_fields}
        run = LocalRun(
            pipeline=tmp_path / "start.yaml",
            arguments={
                "interactions": str(trained.sequences.with_name("plays.csv")),
                "data_config": {},
                "sasrec_config": training,
                "registry_config": {"warm_start": "champion"},
                "tracking_uri": server.address,
            },
            environment={},
            pipeline_root=tmp_path / "root",
            output_dir=tmp_path / "out",
        )

        def train_first() -> tuple[dict[str, Status], str]:
            tasks = execute(run, PlainConsole(quiet=True)).tasks
            return {task.name: task.status for task in tasks}, run.log.read_text()

        done, cached = Status.DONE, Status.CACHED
        first, log = train_first()
        assert set(first.values()) == {done}
        assert "no version of ur4rec is champion yet, training begins from scratch" in log
        register_model(*trained.inputs, RegistryConfig(), tmp_path / "registration.json", server.address)
        with open_mlflow(server.address) as client:
            client.set_registered_model_alias("ur4rec", "champion", "1")
        second, log = train_first()
        assert second == {"preprocess-sequences": cached, "resolve-warm-start": done, "pretrain-sasrec": done}
        assert "warm start: models:/ur4rec/1, 24 of 24 items carried over" in log
        third, _ = train_first()
        assert third == {"preprocess-sequences": cached, "resolve-warm-start": done, "pretrain-sasrec": cached}
    origins = {read_origin(path.parent) for path in (tmp_path / "root").rglob("checkpoint/history.json")}
    assert {origin and origin.name for origin in origins} == {None, "models:/ur4rec/1"}


def test_all_stages_from_a_champion_and_the_version_says_so(
    champion: Registered, trained: Trained, tmp_path: Path
) -> None:
    start = open_warm_start("models:/ur4rec@champion", champion.tracking_uri)
    embeddings, output = trained.sequences.with_name("embeddings"), tmp_path / "outputs"
    run = train_all(trained.sequences, embeddings, output, trained.config, "cpu", warm_start=start)
    inputs = trained.sequences, run.checkpoint, run.memories, output / "results.json", output / "report.html"
    version = register_model(*inputs, RegistryConfig(), tmp_path / "registration.json", champion.tracking_uri)
    with open_mlflow(champion.tracking_uri) as client:
        assert client.get_model_version("ur4rec", version.version).tags[TAG_WARM_START] == "models:/ur4rec/1"
        assert TAG_WARM_START not in client.get_model_version("ur4rec", "1").tags
        client.set_registered_model_alias("ur4rec", "challenger", "1")  # others read this registry too
        client.delete_model_version("ur4rec", version.version)
    assert present(read_origin(output)).digest == present(start).digest
