"""What is shown when a local run has failed."""

from __future__ import annotations

from pathlib import Path

from pipelines.local_run import LocalRun, Outcome
from pipelines.task_log import Status, Task
from ur4rec.commands.console import USER_ERROR
from ur4rec.evaluation.results import ResultsError, load_results
from ur4rec.storage.writing import WriteError
from ur4rec.terminal import PlainConsole
from ur4rec.training.export import RESULTS

SHOWN_LOG_LINES = 20
NO_ERROR = (
    "the task's process ended without an error message; it may have been killed, for example for lack of memory: "
    "lower batch_size, eval_batch_size, text_batch_size or max_seq_len"
)


def show_failure(console: PlainConsole, run: LocalRun, outcome: Outcome) -> int:
    """Prints the error, the end of the log where the error does not say all, and where the whole log is.

    Which task failed is not said again: the view has shown it.

    Returns:
        The exit code: 2 where a task could not write what it made, else 1.
    """
    failed = next((task for task in outcome.tasks if task.status is Status.FAILED), None)
    if failed is None:
        console.tell(("The pipeline could not be run", "red"))
        _show_log(console, run.log.read_text(encoding="utf-8").splitlines())
    else:
        _show_failed_task(console, failed)
    console.tell(f"whole log: {run.log}")
    show_leftovers(console, run.output_dir)
    error = failed.find_error() if failed else None
    return USER_ERROR if error and error.text.startswith(WriteError.__name__) else 1


def show_leftovers(console: PlainConsole, output_dir: Path) -> None:
    """Says whose results a folder still holds, since only a run that ends well replaces them."""
    results = output_dir / RESULTS
    if results.is_file():
        console.tell(f"{output_dir} still holds the results of an earlier run ({_name_dataset(results)})")


def _name_dataset(results: Path) -> str:
    try:
        return load_results(results).dataset.name
    except ResultsError:
        return f"its {RESULTS} cannot be read"


def _show_failed_task(console: PlainConsole, task: Task) -> None:
    error = task.find_error()
    console.tell((error.text if error else NO_ERROR, "red"))
    if error is None or not error.says_all:
        _show_log(console, [line for line in task.log if line.strip()])


def _show_log(console: PlainConsole, lines: list[str]) -> None:
    console.tell(("last lines of its log:", "dim"))
    for line in lines[-SHOWN_LOG_LINES:]:
        console.tell((f"  {line}", "dim"))
