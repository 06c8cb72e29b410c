"""What is shown when a local run has failed."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from pipelines.local_run import LocalRun, Outcome
from pipelines.task_log import Status, Task
from ur4rec.evaluation.results import ResultsError, load_results
from ur4rec.storage.export import RESULTS

SHOWN_LOG_LINES = 20
NO_ERROR = "the task's process ended without an error message; it may have been killed, for example for lack of memory"


def show_failure(console: Console, run: LocalRun, outcome: Outcome) -> None:
    """Prints the error, the end of the log where the error does not say all, and where the whole log is.

    Which task failed is not said again: the view has shown it.
    """
    failed = next((task for task in outcome.tasks if task.status is Status.FAILED), None)
    if failed is None:
        _show_error(console, "The pipeline could not be run")
        _show_log(console, run.log.read_text(encoding="utf-8").splitlines())
    else:
        _show_failed_task(console, failed)
    console.print(f"whole log: {run.log}", soft_wrap=True, highlight=False, markup=False)
    show_leftovers(console, run.output_dir)


def show_leftovers(console: Console, output_dir: Path) -> None:
    """Says whose results a folder still holds, since only a run that ends well replaces them."""
    results = output_dir / RESULTS
    if results.is_file():
        line = f"{output_dir} still holds the results of an earlier run ({_name_dataset(results)})"
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _name_dataset(results: Path) -> str:
    try:
        return load_results(results).dataset.name
    except ResultsError:
        return f"its {RESULTS} cannot be read"


def _show_failed_task(console: Console, task: Task) -> None:
    error = task.find_error()
    _show_error(console, error.text if error else NO_ERROR)
    if error is None or not error.says_all:
        _show_log(console, [line for line in task.log if line.strip()])


def _show_error(console: Console, message: str) -> None:
    console.print(f"[red]{escape(message)}[/]", soft_wrap=True, highlight=False)


def _show_log(console: Console, lines: list[str]) -> None:
    console.print("last lines of its log:", style="dim")
    for line in lines[-SHOWN_LOG_LINES:]:
        console.print(f"  {escape(line)}", style="dim", soft_wrap=True, highlight=False)
