from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from kfp_server import Frame, KfpServer

from pipelines.cluster import status as run_status
from pipelines.cluster.connection import connect
from pipelines.cluster.status import RunReader, follow
from pipelines.compilation import PIPELINE_FILE
from pipelines.tasks import Status
from ur4rec.terminal import PlainConsole

pytestmark = pytest.mark.server


@pytest.fixture
def start(kfp_server: KfpServer) -> Callable[..., str]:
    """Starts a run of the committed pipeline that goes through some frames; returns its id."""
    kfp_server.experiments["e"] = {}
    pipeline = kfp_server.create_pipeline({"display_name": "ur4rec"})["pipeline_id"]
    kfp_server.upload_version({"pipelineid": pipeline, "name": "1"}, PIPELINE_FILE.read_bytes())

    def start_one(*frames: Frame) -> str:
        kfp_server.scripts.append(list(frames))
        parameters = {"interactions": "gs://bucket/plays"}
        run = kfp_server.create_run(
            {
                "display_name": "mine",
                "experiment_id": "e",
                "pipeline_version_reference": {"pipeline_id": pipeline},
                "runtime_config": {"parameters": parameters},
            }
        )
        return str(run["run_id"])

    return start_one


def test_a_terminal_shows_a_table_that_lives(
    kfp_server: KfpServer, start: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_status, "pause", lambda seconds: None)
    run_id = start(Frame("RUNNING", {"evaluate": "RUNNING"}), Frame("SUCCEEDED", {"evaluate": "SUCCEEDED"}))
    console = PlainConsole(force_terminal=True, file=io.StringIO(), width=100, _environ={"TERM": "xterm"})
    assert follow(connect(), run_id, console).state == "SUCCEEDED"
    assert isinstance(console.file, io.StringIO)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())
    assert re.search(r"✓ +Evaluate +1 min 05 s +done", shown)
    assert "· " in shown
    assert kfp_server.address in shown


def test_a_log_begins_with_what_has_begun(
    kfp_server: KfpServer, start: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits has no line, and neither has what goes on as before."""
    monkeypatch.setattr(run_status, "pause", lambda seconds: None)
    begun = {"preprocess-sequences": "SUCCEEDED", "evaluate": "RUNNING"}
    run_id = start(Frame("RUNNING", begun), Frame("RUNNING", begun), Frame("FAILED", begun | {"evaluate": "FAILED"}))
    console = PlainConsole(file=io.StringIO(), width=200)
    assert follow(connect(), run_id, console).state == "FAILED"
    assert isinstance(console.file, io.StringIO)
    told = [line.partition(" in ")[0] for line in console.file.getvalue().splitlines()]
    assert told == ["Preprocess sequences: done", "Evaluate: running", "Evaluate: failed"]


def test_tasks_are_in_the_order_of_the_pipeline_and_told_when_they_change(
    kfp_server: KfpServer, start: Callable[..., str]
) -> None:
    reader = RunReader(
        connect(),
        start(
            Frame("PENDING"),
            Frame("RUNNING", {"preprocess-sequences": "RUNNING"}),
            Frame("RUNNING", {"preprocess-sequences": "RUNNING"}),
            Frame("FAILED", {"preprocess-sequences": "SUCCEEDED", "evaluate": "SKIPPED", "register-model": "CANCELED"}),
        ),
    )
    assert reader.status.tasks[0].title == "Preflight"
    assert {task.status for task in reader.status.tasks} == {Status.WAITING}
    assert [(task.name, task.status) for task in reader.refresh()] == [("preprocess-sequences", Status.RUNNING)]
    assert reader.refresh() == []
    assert [task.status for task in reader.refresh()] == [Status.DONE, Status.SKIPPED, Status.CANCELED]
    assert reader.status.is_final


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["SUCCEEDED", "RUNNING", "FAILED"], Status.RUNNING),
        (["SUCCEEDED", "FAILED"], Status.FAILED),
        (["SUCCEEDED", "PENDING"], Status.WAITING),
        (["SUCCEEDED", "SKIPPED"], Status.DONE),
    ],
)
def test_a_task_of_a_loop_is_one_task(
    kfp_server: KfpServer, start: Callable[..., str], states: list[str], expected: Status
) -> None:
    run_id = start(Frame("RUNNING"))
    reader = RunReader(connect(), run_id)
    details = [
        {"display_name": "ask-texts", "state": state, "pod_name": f"a-{number}", "end_time": "1970-01-01T00:00:00Z"}
        for number, state in enumerate(states)
    ]
    kfp_server._frames[run_id].clear()
    kfp_server.runs[run_id]["run_details"] = {"task_details": details}
    reader.refresh()
    task = next(task for task in reader.status.tasks if task.name == "ask-texts")
    assert task.status is expected
    assert task.seconds is None
    assert reader.status.nodes["ask-texts"] == [f"a-{number}" for number in range(len(states))]
