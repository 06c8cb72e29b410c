from __future__ import annotations

import io
from pathlib import Path

import pytest
from toy_results import make_results

from pipelines.failure import NO_ERROR, show_failure
from pipelines.local_run import LocalRun, Outcome
from pipelines.task_log import Status, Task
from ur4rec.evaluation.results import write_results
from ur4rec.terminal import PlainConsole

MESSAGE = "[/plays].csv: row 3: rating [5 is no [bold]number[/bold] :smile:"


@pytest.fixture
def local_run(tmp_path: Path) -> LocalRun:
    return LocalRun(
        pipeline=tmp_path / "pipeline.yaml",
        arguments={},
        environment={},
        pipeline_root=tmp_path / "root",
        output_dir=tmp_path / "out",
    )


def show(run: LocalRun, *log: str) -> list[str]:
    task = Task("one", "comp-one", "One", status=Status.FAILED)
    task.log.extend(log)
    console = PlainConsole(file=io.StringIO(), width=80, force_terminal=False)
    show_failure(console, run, Outcome(tasks=[task], outputs={}, peak_memory_mb=1.0))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_an_error_of_the_library_is_said_once_without_a_traceback(local_run: LocalRun) -> None:
    lines = show(local_run, "Traceback", "  x", f"ur4rec.data.errors.DataError: {MESSAGE}")
    assert lines == [f"DataError: {MESSAGE}", f"whole log: {local_run.log}"]


def test_any_other_error_comes_with_the_end_of_the_log(local_run: LocalRun) -> None:
    lines = show(local_run, *(f"line {number}" for number in range(40)), "KeyError: 'x'")
    assert lines[:3] == ["KeyError: 'x'", "last lines of its log:", "  line 21"]
    assert lines[-2:] == ["  KeyError: 'x'", f"whole log: {local_run.log}"]


def test_a_process_that_was_killed_has_no_error(local_run: LocalRun) -> None:
    assert show(local_run, "[/loading]\x1b[2J")[:3] == [NO_ERROR, "last lines of its log:", "  [/loading]␛[2J"]


def test_results_of_an_earlier_run_are_named(local_run: LocalRun) -> None:
    results = local_run.output_dir / "results.json"
    write_results(make_results(name="[/last] year"), results)
    expected = f"{local_run.output_dir} still holds the results of an earlier run"
    assert show(local_run)[-1] == f"{expected} ([/last] year)"
    results.write_text("{}")
    assert show(local_run)[-1] == f"{expected} (its results.json cannot be read)"
