"""A run of the pipeline shows in a real MLflow server while it trains, whatever becomes of it or of the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from clean_registry import clean_environment, copy_database
from emulators import find_free_port
from registry_servers import running_server
from toy_runs import Trained

from ur4rec.registry import live
from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.environment import LOCAL_RUN, PIPELINE_RUN, PUBLIC_TRACKING_URL, RUN_OWNER
from ur4rec.registry.live import track
from ur4rec.registry.mlflow_client import TRACKING_URI, ensure_experiment, open_mlflow
from ur4rec.registry.notifications import report_end
from ur4rec.registry.pipeline_run import (
    PARENT,
    TAG_FAILURE,
    TAG_RUN,
    TAG_STAGE,
    announce_run,
    end_run,
    find_run,
    list_children,
)
from ur4rec.registry.preflight import check_run
from ur4rec.registry.register import register_model
from ur4rec.registry.run_log import RUN_ID, TAG_NOTE, read_stages
from ur4rec.training.checkpoints import HISTORY
from ur4rec.training.stage_names import STAGES
from ur4rec.training.stages import run_stage

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]
Rows = Sequence[Mapping[str, float]]
Observe = Callable[[Mapping[str, Any], Rows], None]
ROWS = [
    {"epoch": 0, "step": 0, "validation_loss": 3.0, "ndcg@10": 0.1},
    {"epoch": 1, "step": 5, "loss": 2.5, "validation_loss": 2.8, "ndcg@10": 0.2},
    {"epoch": 2, "step": 9, "loss": 2.0, "validation_loss": 2.6, "ndcg@10": 0.3},
]
STAGE = "joint_finetune"
RUN = "0f1e2d3c-run"
LIMIT_S = 300.0


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LAST_S", LIMIT_S)
    monkeypatch.setattr(live, "STOPPED_S", LIMIT_S)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with clean_environment(folder):
        store = copy_database(empty_database, folder)
        with running_server(store, str(folder / "files"), find_free_port(), folder / "server.log") as running:
            yield running.address


@pytest.fixture
def pipeline(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The id of a run whose first task has ended."""
    with clean_environment(tmp_path):
        pipeline = f"{RUN}-{tmp_path.name}"
        monkeypatch.setenv(PIPELINE_RUN, pipeline)
        monkeypatch.setenv(TRACKING_URI, server)
        with open_mlflow() as client:
            announce_run(client, ensure_experiment(client, "ur4rec"))
        yield pipeline


def see(pipeline: str) -> tuple[Any, dict[str, Any]]:
    """The pipeline's run, and those of its stages."""
    with open_mlflow() as client:
        parent = find_run(client, pipeline)
        assert parent is not None
        return parent, {child.data.tags[TAG_STAGE]: child for child in list_children(client, parent)}


def find_points(run: Any, name: str) -> list[tuple[int, float]]:
    with open_mlflow() as client:
        return sorted((point.step, point.value) for point in client.get_metric_history(run.info.run_id, name))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.1)


def train_rows(stage: str, rows: Rows, before_the_end: Callable[[], None], *, observe: Observe | None = None) -> int:
    """A stage that tells its rows one after the other."""
    assert observe is not None
    for count in range(1, len(rows) + 1):
        observe({"seed": 7, "sasrec_lr": 0.5}, rows[:count])
    before_the_end()
    return len(rows)


def nothing() -> None:
    """A stage that just ends."""


def fail() -> None:
    raise ValueError("batch 7: the loss is NaN; lower sasrec_lr")


def stop() -> None:
    raise KeyboardInterrupt


def test_nothing_shows_before_the_first_training_task(pipeline: str) -> None:
    with open_mlflow() as client:
        parent = find_run(client, pipeline)
        assert parent is not None
        assert parent.info.lifecycle_stage == "deleted"
        announce_run(client, parent.info.experiment_id)
        again = find_run(client, pipeline)
        assert again is not None
        assert again.info.run_id == parent.info.run_id


def test_curves_are_there_before_the_stage_ends(
    pipeline: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PUBLIC_TRACKING_URL, "https://mlflow.example/")

    def look() -> None:
        wait_for(lambda: "loss" in see(pipeline)[1].get(STAGE, parent).data.metrics)
        wait_for(lambda: len(find_points(see(pipeline)[0], f"{STAGE}/validation_loss")) == 3)
        run, children = see(pipeline)
        assert (run.info.status, run.info.lifecycle_stage) == ("RUNNING", "active")
        assert children[STAGE].info.status == "RUNNING"
        wait_for(lambda: len(find_points(children[STAGE], "ndcg_at_10")) == 3)

    parent, _ = see(pipeline)
    assert track(train_rows, STAGE, ROWS, look) == 3
    run, children = see(pipeline)
    assert (run.info.run_id, run.info.status) == (parent.info.run_id, "RUNNING")
    assert children[STAGE].info.status == "FINISHED"
    assert children[STAGE].data.tags[PARENT] == run.info.run_id
    assert children[STAGE].data.params["sasrec_lr"] == "0.5"
    place = f"experiments/{run.info.experiment_id}/runs/{children[STAGE].info.run_id}"
    assert capsys.readouterr().out == f"MLflow: {STAGE}: https://mlflow.example/#/{place}\n"
    assert find_points(children[STAGE], "loss") == find_points(run, f"{STAGE}/loss") == [(1, 2.5), (2, 2.0)]


@pytest.mark.parametrize(("end", "status"), [(fail, "FAILED"), (stop, "KILLED")])
def test_a_stage_that_fails_leaves_its_trace_and_its_retry_goes_on(
    pipeline: str, end: Callable[[], None], status: str
) -> None:
    with pytest.raises((ValueError, KeyboardInterrupt)):
        track(train_rows, STAGE, ROWS[:2], end)
    run, children = see(pipeline)
    reason = "batch 7: the loss is NaN; lower sasrec_lr" if end is fail else "stopped"
    assert (run.info.status, children[STAGE].info.status) == (status, status)
    assert children[STAGE].data.tags[TAG_FAILURE] == reason
    assert run.data.tags[TAG_NOTE] == f"**{status}**: {STAGE}: {reason}"
    assert find_points(run, f"{STAGE}/loss") == [(1, 2.5)]

    assert track(train_rows, STAGE, ROWS, nothing) == 3
    again, found = see(pipeline)
    assert (again.info.run_id, found[STAGE].info.run_id) == (run.info.run_id, children[STAGE].info.run_id)
    assert list(found) == [STAGE]
    assert (again.info.status, found[STAGE].info.status) == ("RUNNING", "FINISHED")
    assert not {TAG_FAILURE, TAG_NOTE} & (set(again.data.tags) | set(found[STAGE].data.tags))
    for curve, owner in ((f"{STAGE}/loss", again), ("loss", found[STAGE])):
        assert find_points(owner, curve) == [(1, 2.5), (2, 2.0)], "no epoch comes twice"


def test_a_pipeline_that_fails_elsewhere_ends_what_still_runs(
    pipeline: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The task that was killed outright could not; a run that went well stays as it is."""
    track(train_rows, STAGE, ROWS, nothing)
    report_end("SUCCEEDED", "runs/7", "")
    assert see(pipeline)[0].info.status == "RUNNING"
    report_end("FAILED", "runs/7", "Task evaluate failed.")
    run, children = see(pipeline)
    assert (run.info.status, children[STAGE].info.status) == ("FAILED", "FINISHED")
    assert run.data.tags[TAG_FAILURE] == "run failed: runs/7: Task evaluate failed."
    end_run("KILLED", "later")
    assert see(pipeline)[0].info.status == "FAILED"
    assert "MLflow at" not in capsys.readouterr().out


def test_a_server_that_is_away_costs_a_line_and_its_curves_come_at_registration(
    pipeline: str, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second stage meets it; registration goes on in the run that the first began, and ends it."""
    history = {stage["stage"]: stage["series"] for stage in read_stages(trained.checkpoint / HISTORY)}
    track(train_rows, STAGES[0], history[STAGES[0]], nothing)
    began, _ = see(pipeline)
    with monkeypatch.context() as patch:
        patch.setenv(TRACKING_URI, f"http://127.0.0.1:{find_free_port()}")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        assert track(train_rows, STAGES[1], history[STAGES[1]], nothing) == len(history[STAGES[1]])
    *_, line = capsys.readouterr().out.splitlines()
    assert line.startswith(f"MLflow: {STAGES[1]}: ")
    assert line.endswith("; its curves are logged when the model is registered, training goes on")
    track(train_rows, STAGES[2], history[STAGES[2]][:1], nothing)

    done = register_model(*trained.inputs, RegistryConfig(registered_model_name=pipeline), tmp_path / "made.json")
    run, children = see(pipeline)
    assert done.run_id == began.info.run_id == run.info.run_id
    assert run.info.status == "FINISHED"
    assert set(children) == {STAGES[0], STAGES[2]}
    for stage in STAGES:
        expected = [(int(row["epoch"]), row["ndcg@10"]) for row in history[stage]]
        assert find_points(run, f"{stage}/ndcg_at_10") == expected
        if stage in children:
            assert find_points(children[stage], "ndcg_at_10") == expected
    with open_mlflow() as client:
        experiment = run.info.experiment_id
        assert len(client.search_runs([experiment], f"tags.`{TAG_RUN}` = '{pipeline}'")) == 1

    track(train_rows, STAGES[0], history[STAGES[0]], nothing)
    again = register_model(*trained.inputs, RegistryConfig(registered_model_name=pipeline), tmp_path / "again.json")
    assert again == done
    assert see(pipeline)[0].info.status == "FINISHED"


def test_another_server_than_the_first_task_was_told_gets_nothing(
    pipeline: str, tracking_uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(TRACKING_URI, tracking_uri)
    monkeypatch.setenv(PIPELINE_RUN, pipeline)
    assert track(train_rows, STAGE, ROWS, nothing) == 3
    assert "this server is not the one that the run was told" in capsys.readouterr().out
    with open_mlflow() as client:
        assert find_run(client, pipeline) is None


def test_a_run_that_is_named_gets_the_curves_and_stays_open(pipeline: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_mlflow() as client:
        named = client.create_run(ensure_experiment(client, "ur4rec")).info.run_id
    monkeypatch.setenv(RUN_ID, named)
    with pytest.raises(ValueError, match="NaN"):
        track(train_rows, STAGE, ROWS, fail)
    with open_mlflow() as client:
        run = client.get_run(named)
    assert run.info.status == "RUNNING"
    assert run.data.metrics[f"{STAGE}/loss"] == 2.0
    assert "NaN" in run.data.tags[TAG_FAILURE]
    assert see(pipeline)[0].info.lifecycle_stage == "deleted"


def test_outside_of_a_pipeline_nobody_asks_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with clean_environment(tmp_path):
        monkeypatch.delenv(LOCAL_RUN, raising=False)

        def check(stage: str, *, observe: Observe | None = None) -> None:
            assert observe is None

        track(check, STAGE)
        assert not list(tmp_path.iterdir())


def test_a_real_stage_on_this_machine_is_followed_in_its_database(
    trained: Trained, tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRACKING_URI, tracking_uri)
    monkeypatch.setenv(LOCAL_RUN, "local-1")
    monkeypatch.setenv(RUN_OWNER, "host/ns 1 2")
    check_run([], {}, {}, {})
    outputs = tmp_path / "checkpoint", tmp_path / "memories"
    record = track(run_stage, STAGES[0], trained.sequences, *outputs, trained.config, device="cpu")
    run, children = see("local-1")
    assert run.info.status == "RUNNING"
    assert run.data.tags["ur4rec.process"] == "host/ns 1 2"
    child = children[STAGES[0]]
    assert child.info.status == "FINISHED"
    assert child.data.params["batch_size"] == str(trained.config.batch_size)
    assert find_points(child, "ndcg_at_10") == [(row["epoch"], row["ndcg@10"]) for row in record.series]
    assert find_points(child, "validation_loss") == [(row["epoch"], row["validation_loss"]) for row in record.series]
