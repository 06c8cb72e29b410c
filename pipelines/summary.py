"""What is shown when a local run has ended, and the files it leaves behind."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.local_run import LocalRun, Outcome
from pipelines.task_log import Status, Task
from ur4rec.data.sequences import USER_MAP
from ur4rec.data.summary import exclusion_table
from ur4rec.evaluation.history import HISTORY, read_history
from ur4rec.evaluation.results import HEADLINE_METRICS, Results, load_results
from ur4rec.registry.register import Registration
from ur4rec.storage.artifacts import read_artifact
from ur4rec.storage.export import LOGS, REPORT, copy_atomic, export_outputs
from ur4rec.storage.task_metrics import PEAK_MEMORY
from ur4rec.training.checkpoints import STAGES

REGISTRATION = "registration.json"
METRICS = "metrics"
"""Name of the metrics output of every component; `kfp.local` keeps the outputs of a task side by side."""
SHOWN_LOG_LINES = 20


def export_run(outcome: Outcome, output_dir: Path) -> list[Path]:
    """Copies the artifacts to the names that users know; returns the files."""
    outputs = outcome.outputs
    memories = [outputs[f"{stage}_memories"] for stage in STAGES]
    files = export_outputs(outputs[STAGES[-1]], memories, outputs["results"], outputs["report"], output_dir)
    return [*files, copy_atomic(outputs["registration"], output_dir / REGISTRATION)]


def show_success(console: Console, run: LocalRun, outcome: Outcome, tracking_uri: str) -> None:
    """Prints the tables of a run that ended well, and what to do next.

    Args:
        console: Where to print.
        run: What was run.
        outcome: What became of it.
        tracking_uri: MLflow's address without credentials.
    """
    results = load_results(outcome.outputs["results"])
    _show_exclusions(console, outcome.outputs["sequences"])
    _show_tasks(console, outcome)
    _show_stages(console, outcome.outputs[STAGES[-1]] / HISTORY)
    _show_test(console, results)
    _show_end(console, outcome)
    _show_places(console, run, outcome, tracking_uri)


def show_failure(console: Console, run: LocalRun, outcome: Outcome) -> None:
    """Prints the task that failed, its error, the end of its log, and where the whole log is."""
    failed = next((task for task in outcome.tasks if task.status is Status.FAILED), None)
    if failed is None:
        lines = run.log.read_text(encoding="utf-8").splitlines()
        _show_error(console, "The pipeline could not be run", None, lines)
    else:
        lines = [line for line in failed.log if line.strip()]
        _show_error(console, f"{failed.title} failed", _explain(failed), lines)
    console.print(f"whole log: {run.log}", soft_wrap=True, highlight=False, markup=False)


def _explain(task: Task) -> str:
    return task.find_error() or (
        "its process ended without an error message; it may have been killed, for example for lack of memory"
    )


def _show_error(console: Console, title: str, error: str | None, lines: Sequence[str]) -> None:
    console.print(f"[bold red]{escape(title)}[/]", highlight=False)
    if error:
        console.print(f"[red]{escape(error)}[/]", soft_wrap=True, highlight=False)
    console.print("last lines of its log:", style="dim")
    for line in lines[-SHOWN_LOG_LINES:]:
        console.print(f"  {escape(line)}", style="dim", soft_wrap=True, highlight=False)


def _show_exclusions(console: Console, sequences: Path) -> None:
    rows = exclusion_table(read_artifact(sequences))
    if rows:
        _show_table(console, "data", ("what", "count"), [(words, f"{count:,}") for words, count in rows])


def _show_tasks(console: Console, outcome: Outcome) -> None:
    rows = [
        (
            task.title,
            task.status.value if task.status is Status.CACHED else "run",
            "" if task.seconds is None else f"{task.seconds:.1f}",
            _format_peak(task, outcome),
        )
        for task in outcome.tasks
    ]
    _show_table(console, "tasks", ("task", "", "seconds", "peak MB"), rows)


def _format_peak(task: Task, outcome: Outcome) -> str:
    if task.status is Status.CACHED:
        return ""
    metrics = json.loads((outcome.outputs[task.outputs[0]].parent / METRICS).read_bytes())
    return f"{metrics[PEAK_MEMORY]:,.0f}"


def _show_stages(console: Console, history: Path) -> None:
    rows = [
        (stage.stage, str(stage.epochs), f"{stage.seconds:.1f}", f"{stage.validation['ndcg@10']:.4f}")
        for stage in read_history(history).stages
    ]
    _show_table(console, "training stages", ("stage", "epochs", "seconds", "validation ndcg@10"), rows)


def _show_test(console: Console, results: Results) -> None:
    rows = [
        (system, *(_format_estimate(*estimate) for estimate in _list_headline(results, system)))
        for system in results.test
    ]
    title = f"test on {results.dataset.name}: {results.protocol}"
    _show_table(console, title, ("system", *HEADLINE_METRICS), rows)


def _list_headline(results: Results, system: str) -> Iterable[tuple[float, tuple[float, float]]]:
    for name in HEADLINE_METRICS:
        estimate = results.test[system][name]
        yield estimate.value, estimate.ci95


def _format_estimate(value: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{value:.4f} [{_shorten(low)}, {_shorten(high)}]"


def _shorten(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")  # three columns of these fit on a terminal of 80


def _show_end(console: Console, outcome: Outcome) -> None:
    cached = sum(task.status is Status.CACHED for task in outcome.tasks)
    executed = len(outcome.tasks) - cached
    console.print(
        f"tasks: {executed} run, {cached} cached; {outcome.seconds:.0f} s of wall time, "
        f"largest process {outcome.peak_memory_mb:,.0f} MB",
        highlight=False,
    )


def _show_places(console: Console, run: LocalRun, outcome: Outcome, tracking_uri: str) -> None:
    registration = Registration.model_validate_json(outcome.outputs["registration"].read_bytes())
    for name, text in (
        ("report", str(run.output_dir / REPORT)),
        ("outputs", str(run.output_dir)),
        ("model", _describe_version(registration, outcome)),
        ("experiments", _browse(tracking_uri)),
        ("curves", f"tensorboard --logdir {shlex.quote(str(run.output_dir / LOGS))}"),
        ("try it", _recommend(registration, outcome.outputs["sequences"])),
    ):
        console.print(f"{name + ':':<13}{text}", soft_wrap=True, highlight=False, markup=False)


def _describe_version(registration: Registration, outcome: Outcome) -> str:
    version = f"{registration.name} version {registration.version}"
    maker = next(task for task in outcome.tasks if "registration" in task.outputs)
    if maker.status is Status.CACHED:
        return f"{version}, registered in an earlier run"
    return f"{version}, alias {registration.alias}"


def _browse(tracking_uri: str) -> str:
    if tracking_uri.startswith("http"):
        return tracking_uri
    return f"mlflow ui --backend-store-uri {shlex.quote(tracking_uri)}"


def _recommend(registration: Registration, sequences: Path) -> str:
    users = json.loads((sequences / USER_MAP).read_bytes())
    model = f"models:/{registration.name}@{registration.alias}"
    return f"ur4rec recommend --user {shlex.quote(next(islice(users, 1)))} --model {shlex.quote(model)}"


def _show_table(console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    console.print(title, style="bold", soft_wrap=True, highlight=False, markup=False)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number and column else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)
