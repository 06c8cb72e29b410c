from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_pipeline import compile_toy

from pipelines.arguments import read_settings
from pipelines.inputs import DataNotFoundError
from pipelines.local_run import LocalRun, Outcome, execute, prepare
from pipelines.options import Runner, RunOptions
from pipelines.pipeline_root import CACHE_FOLDER, MARK, RUN, identify_run, mark_run
from pipelines.summary import show_failure
from pipelines.tasks import Status
from ur4rec.commands.console import split_settings
from ur4rec.config import load_config
from ur4rec.config_section import ConfigError
from ur4rec.data.config import DataConfig
from ur4rec.data.errors import DataError
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.registry.gate.rules import load_rules
from ur4rec.terminal import PlainConsole
from ur4rec.training.checkpoints import CheckpointError


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    return compile_toy(tmp_path / "toy.yaml")


def make_run(pipeline: Path, **arguments: Any) -> LocalRun:
    folder = pipeline.parent
    return LocalRun(
        pipeline=pipeline,
        arguments={"text": "a b c", "expected": 3, **arguments},
        environment={},
        # kfp would replace "python3" in a path, and run an interpreter with a space in its path as two words.
        pipeline_root=folder / "python3 root",
        output_dir=folder / "out",
    )


def run(request: LocalRun) -> tuple[Outcome, str]:
    console = PlainConsole(file=io.StringIO(), width=200, force_terminal=False)
    outcome = execute(request, console)
    if not outcome.succeeded:
        show_failure(console, request, outcome)
    return outcome, console.file.getvalue()  # type: ignore[attr-defined]


def get_statuses(outcome: Outcome) -> list[Status]:
    return [task.status for task in outcome.tasks]


def test_runs_every_task_then_none(pipeline: Path) -> None:
    first, shown = run(make_run(pipeline))
    assert get_statuses(first) == [Status.DONE, Status.DONE]
    assert first.outputs["counted"].read_text() == "3"
    assert first.peak_memory_mb > 1
    assert [line.split(" in ")[0] for line in shown.splitlines()] == [
        "write: running",
        "write: line 1/1",
        "write: done",
        "count: running",
        "count: done",
    ]
    second, _ = run(make_run(pipeline))
    assert get_statuses(second) == [Status.CACHED, Status.CACHED]
    assert second.outputs == first.outputs
    third, _ = run(make_run(pipeline, expected=3, text="d e f"))
    assert get_statuses(third) == [Status.DONE, Status.DONE]


def test_without_the_cache_everything_runs_and_is_remembered(pipeline: Path) -> None:
    first, _ = run(make_run(pipeline))
    fresh, _ = run(replace(make_run(pipeline), caching=False))
    assert get_statuses(fresh) == [Status.DONE, Status.DONE]
    assert fresh.outputs != first.outputs
    again, _ = run(make_run(pipeline))
    assert get_statuses(again) == [Status.CACHED, Status.CACHED]
    assert again.outputs == fresh.outputs


@pytest.mark.parametrize(
    "content", [b"", b'{"parameters": {', b"[1]", b"\xff\xfe"], ids=["empty", "cut", "odd", "binary"]
)
def test_damaged_entries_end_no_run(pipeline: Path, content: bytes) -> None:
    request = make_run(pipeline)
    run(request)
    entries = list((request.pipeline_root / CACHE_FOLDER).glob("*.json"))
    for entry in entries:
        entry.write_bytes(content)
    (request.pipeline_root / MARK).write_text("[]")  # of a run that was killed
    again, shown = run(request)
    assert get_statuses(again) == [Status.DONE, Status.DONE]
    notes = [line for line in shown.splitlines() if line.startswith("cache: ")]
    assert notes[0] in {f"cache: write runs again, {entry}: is damaged" for entry in entries}
    third, shown = run(request)
    assert get_statuses(third) == [Status.CACHED, Status.CACHED]
    assert "cache: " not in shown


def test_a_warning_about_the_data_is_shown_when_it_is_told(pipeline: Path) -> None:
    warning = "preprocess_sequences: warning: an odd word"
    for text, expected in (("a b c", 0), ("an odd one", 1)):
        outcome, shown = run(make_run(pipeline, text=text))
        assert outcome.succeeded
        assert shown.splitlines().count(warning) == expected


def test_a_damaged_note_of_a_killed_run_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a run").mkdir()
    (tmp_path / MARK).write_text('["cut o')
    with mark_run(tmp_path):
        assert (tmp_path / "a run").is_dir()
    assert not (tmp_path / MARK).exists()


@pytest.mark.parametrize("text", [None, ""], ids=["gone", "emptied"])
def test_a_task_whose_artifact_is_not_what_it_wrote_runs_again(pipeline: Path, text: str | None) -> None:
    words = run(make_run(pipeline))[0].outputs["words"]
    words.unlink()
    if text is not None:
        words.write_text(text)
    again, shown = run(make_run(pipeline))
    assert get_statuses(again) == [Status.DONE, Status.DONE]
    assert again.outputs["words"].read_text() == "a b c"
    assert [line for line in shown.splitlines() if line.startswith(f"cache: write runs again, {words}: is ")]
    assert get_statuses(run(make_run(pipeline))[0]) == [Status.CACHED, Status.CACHED]


def test_only_what_is_damaged_runs_again(pipeline: Path) -> None:
    first, _ = run(make_run(pipeline))
    first.outputs["counted"].unlink()
    again, _ = run(make_run(pipeline))
    assert get_statuses(again) == [Status.CACHED, Status.DONE]
    assert again.outputs["words"] == first.outputs["words"]


@pytest.mark.parametrize("is_moved", [False, True], ids=["copied", "moved"])
def test_a_project_elsewhere_reads_and_writes_nothing_where_it_was(tmp_path: Path, is_moved: bool) -> None:
    base, elsewhere = tmp_path / "base", tmp_path / "else where"
    base.mkdir()
    run(make_run(compile_toy(base / "toy.yaml")))
    before = list_files(base)
    shutil.copytree(base, elsewhere)
    if is_moved:
        shutil.rmtree(base)
    outcome, _ = run(make_run(elsewhere / "toy.yaml"))
    assert get_statuses(outcome) == [Status.CACHED, Status.CACHED]
    assert all(path.is_relative_to(elsewhere) for path in outcome.outputs.values())
    changed, _ = run(make_run(elsewhere / "toy.yaml", text="d e f"))
    assert get_statuses(changed) == [Status.DONE, Status.DONE]
    assert list_files(base) == ({} if is_moved else before)


def list_files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize(("chosen", "expected"), [(None, "passive"), ("active", "active")])
def test_threads_of_the_tasks_sleep_while_they_wait(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch, chosen: str | None, expected: str
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if chosen:
        monkeypatch.setenv("OMP_WAIT_POLICY", chosen)
    outcome, _ = run(make_run(pipeline))
    assert outcome.outputs["words"].with_name("wait_policy").read_text() == expected


def test_the_log_has_what_the_terminal_has_not(pipeline: Path) -> None:
    request = make_run(pipeline)
    _, shown = run(request)
    log = request.log.read_text()
    assert "Executing task 'write'" in log
    assert "progress write" in log
    assert "\x1b" not in log
    assert "Executing" not in shown


def test_a_failing_task_is_shown_at_once_with_its_error(pipeline: Path) -> None:
    request = make_run(pipeline, expected=4)
    outcome, shown = run(request)
    assert get_statuses(outcome) == [Status.DONE, Status.FAILED]
    assert outcome.outputs == {}
    lines = shown.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("count: failed in "))
    assert lines[start + 1].startswith("ValueError: ")
    assert lines[start + 1].endswith("words: 3 words, expected 4")
    assert lines[start + 2] == "last lines of its log:"
    assert lines[-1] == f"whole log: {request.log}"
    assert len(lines[start:]) <= 24
    assert len([line for line in lines if "count" in line and "failed" in line]) == 1
    again, _ = run(make_run(pipeline, expected=3))
    assert get_statuses(again) == [Status.CACHED, Status.DONE]


def test_a_pipeline_that_cannot_start_shows_why(pipeline: Path) -> None:
    outcome, shown = run(make_run(pipeline, unknown=1))
    assert not outcome.succeeded
    assert "The pipeline could not be run" in shown
    assert "unknown" in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_no_process_behind(pipeline: Path, number: int) -> None:
    request = make_run(pipeline, seconds=120.0)
    found: list[int] = []

    def interrupt() -> None:
        while not found and not ended.wait(0.05):
            texts = [file.read_text() for file in request.pipeline_root.rglob("process_id")]
            found.extend(int(text) for text in texts if text)
        os.kill(os.getpid(), number)

    ended = threading.Event()
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            run(request)
    finally:
        ended.set()
        thread.join()
    assert not is_running(found[0])
    told = "stopped: write: nothing is kept"
    assert caught.value.__notes__ == [told]
    assert told in request.log.read_text()


def is_running(process_id: int) -> bool:
    """Whether a process is there; one that has ended and waits for its parent to notice is not."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process_id}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_temporary_files_of_the_tasks_are_removed(
    pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    run(make_run(pipeline))
    assert list(scratch.iterdir()) == []


def test_what_a_killed_run_leaves_is_removed_by_the_next(pipeline: Path, tmp_path: Path) -> None:
    """Killed for good in its second task: no process of it goes on, what its first task made is used."""
    request, scratch = make_run(pipeline), tmp_path / "scratch"
    scratch.mkdir()
    code = f"""
import io
from pathlib import Path
from ur4rec.registry.gate.rules import load_rules
from ur4rec.terminal import PlainConsole
from ur4rec.training.checkpoints import CheckpointError
from pipelines.local_run import LocalRun, execute
folder = Path({str(pipeline.parent)!r})
arguments = {{"text": "a b c", "expected": 3, "pause": 600.0}}
run = LocalRun(Path({str(pipeline)!r}), arguments, {{}}, folder / "python3 root", folder / "out")
execute(run, PlainConsole(file=io.StringIO()))
"""
    with subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(scratch)}) as process:
        while not (found := [file for file in request.pipeline_root.rglob("count_id") if file.read_text()]):
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
    task = int(found[0].read_text())
    while is_running(task):
        time.sleep(0.05)
    assert list(scratch.iterdir())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(scratch))
        outcome, _ = run(request)
    assert get_statuses(outcome) == [Status.CACHED, Status.DONE]
    assert not found[0].exists()
    assert outcome.outputs["words"].read_text() == "a b c"
    assert outcome.outputs["words"].parts[-3] == found[0].parts[-3], "in the folder of the killed run"
    assert list(scratch.iterdir()) == []
    assert {path.name for path in request.pipeline_root.iterdir()} >= {".bin", ".kfp_cache"}
    assert not (request.pipeline_root / ".running.json").exists()


def test_what_a_failed_run_leaves_stays(pipeline: Path) -> None:
    """It is there to be looked at."""
    request = make_run(pipeline, expected=4)
    run(request)
    (left,) = request.pipeline_root.rglob("count_id")
    run(make_run(pipeline))
    assert left.exists()


# from options to a run


def make_options(folder: Path, data: str | None, *settings: str) -> RunOptions:
    return RunOptions(
        config="toy",
        settings=list(settings),
        data=data,
        device="cpu",
        output_dir=folder / "out",
        pipeline_root=folder / "root",
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "2024.csv").write_text("user_id,item_id,timestamp\na,x,1\na,y,2\na,z,3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "expected"), [((), "2024"), (("dataset_name=mine",), "mine"), (("seed=3",), "2024")]
)
@pytest.mark.parametrize("config", ["toy", "ur4rec_moe_100k"])
def test_chosen_data_bring_their_name_along(
    folder: Path, config: str, settings: tuple[str, ...], expected: str
) -> None:
    run = prepare(replace(make_options(folder, "2024.csv", *settings), config=config))
    section = read_settings(run.arguments).narrow(DataConfig)
    manifest = preprocess_sequences(run.arguments["interactions"], folder / "sequences", section)
    assert manifest.details["dataset_name"] == manifest.config["dataset_name"] == expected


@pytest.mark.parametrize(
    ("rows", "items", "settings"),
    [
        ("a,x,1\na,y,soon\n", None, ()),
        ("a,x,1\na,y,2\n", None, ()),
        ("a,x,1\na,y,2\na,z,3\n", "item_id,price\nx,7\n", ()),
        ("a,x,1\na,y,2\na,z,3\n", "item_id,title\nq,Q\n", ()),
        ("a,x,1\na,y,2\na,z,3\n", None, ("min_rating=3",)),
        ("a,x,1\na,y,2\na,z,3\n", None, ("new_items=include",)),
    ],
    ids=["a row", "nothing left", "item table", "an item table that fits nothing", "no ratings", "no item table"],
)
def test_bad_data_end_a_run_before_its_first_task_with_the_line_of_preprocess(
    folder: Path, rows: str, items: str | None, settings: tuple[str, ...]
) -> None:
    plays, songs = folder / "plays.csv", folder / "songs.csv" if items else None
    plays.write_text(f"user_id,item_id,timestamp\n{rows}")
    if songs:
        songs.write_text(items or "")
    config = load_config("toy", split_settings(settings)).narrow(DataConfig)
    with pytest.raises(DataError) as told:
        preprocess_sequences(plays, folder / "sequences", config, songs)
    options = replace(make_options(folder, "plays.csv", *settings), items="songs.csv" if items else None)
    with pytest.raises(DataError, match=re.escape(str(told.value))):
        prepare(options)
    assert not options.pipeline_root.exists()


def test_mlflow_is_a_file_in_the_working_directory_by_default(folder: Path) -> None:
    run = prepare(make_options(folder, "2024.csv"))
    assert run.tracking_uri == run.arguments["tracking_uri"] == f"sqlite:///{folder / 'mlflow.db'}"
    assert run.environment["MLFLOW_TRACKING_URI"] == run.tracking_uri


def test_paths_do_not_depend_on_the_working_directory(folder: Path) -> None:
    run = prepare(make_options(folder, "2024.csv"))
    assert run.arguments["interactions"] == str(folder / "2024.csv")
    assert run.pipeline_root.is_absolute()


def test_relative_paths_of_settings_mean_the_same_in_a_container(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    (folder / "encoder").mkdir()
    (folder / "mine.yaml").write_text("{}")
    settings = ("text_cache=answers", "text_model_name=encoder", "text_item_prompt=mine.yaml")
    run = prepare(replace(make_options(folder, "2024.csv", *settings), runner=Runner.DOCKER))
    assert run.containers is not None
    seen = {*run.containers.read_only, *run.containers.writable}
    assert {str(folder / name) for name in ("2024.csv", "answers", "encoder", "mine.yaml")} <= seen
    text = read_settings(run.arguments)
    assert (text.text_cache, text.text_item_prompt) == (str(folder / "answers"), str(folder / "mine.yaml"))
    assert "/" not in text.text_user_prompt


def test_a_missing_gpu_is_found_before_the_data_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(CheckpointError, match="no GPU is available"):
        prepare(replace(make_options(folder, "nowhere.csv"), device="cuda"))


def test_a_system_that_cannot_start_from_a_model_is_found_before_the_data_are(folder: Path) -> None:
    with pytest.raises(ConfigError, match="warm_start: champion goes with a system that has SASRec"):
        prepare(make_options(folder, "nowhere.csv", "system=UR4RecMoEMemory", "warm_start=champion"))


def test_a_stale_pipeline_is_said_and_still_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.local_run.is_current", lambda path: False)
    prepare(make_options(folder, "2024.csv"))
    assert "is older than its sources" in capsys.readouterr().out


def test_the_rules_of_the_gate_are_arguments_and_can_be_changed(folder: Path) -> None:
    (folder / "rules.yaml").write_text("min_users: 7\n")
    shipped = prepare(make_options(folder, "2024.csv"))
    own = prepare(replace(make_options(folder, "2024.csv"), gate_rules=folder / "rules.yaml"))
    assert own.arguments["gate_rules"] == shipped.arguments["gate_rules"] | {"min_users": 7}
    assert load_rules(overrides=shipped.arguments["gate_rules"]) == load_rules()


@pytest.mark.parametrize("option", ["items", "item_text", "user_text"])
def test_files_of_items_and_texts_are_here_or_in_cloud_storage(
    folder: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ur4rec.storage.inputs.list_versions", lambda location: ["songs#1"])
    (folder / "songs.csv").write_text("item_id,title\nx,X\ny,Y\nz,Z\n")
    for location, expected in (("songs.csv", str(folder / "songs.csv")), ("gs://b/songs", "gs://b/songs")):
        change: dict[str, Any] = {option: location}
        run = prepare(replace(make_options(folder, "2024.csv"), **change))
        assert run.arguments[option] == expected
    name = "--" + option.replace("_", "-")
    nowhere: dict[str, Any] = {option: "nowhere.json"}
    with pytest.raises(DataNotFoundError, match=rf"{name} nowhere\.json: no such file; expected a \w+ .*, or gs://…"):
        prepare(replace(make_options(folder, "2024.csv"), **nowhere))


def test_a_run_that_was_interrupted_keeps_its_id(tmp_path: Path) -> None:
    """Its stages go on in the run that MLflow has; other arguments, and a run after one that ended, have another id."""

    def begin(arguments: dict[str, object], is_interrupted: bool) -> str:
        with suppress(KeyboardInterrupt), identify_run(tmp_path, arguments) as run_id:
            if is_interrupted:
                raise KeyboardInterrupt
        return run_id

    first = begin({"seed": 1}, True)
    assert begin({"seed": 1}, True) == first
    assert begin({"seed": 2}, True) != first
    second = begin({"seed": 1}, False)
    assert second != first
    assert begin({"seed": 1}, False) != second
    (tmp_path / RUN).write_text("{damaged")
    assert begin({"seed": 1}, False)
    assert not (tmp_path / RUN).exists()
