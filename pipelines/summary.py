"""What is shown when a local run has ended well, and the files it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.measure import Measurement
from rich.table import Table

from pipelines.local_run import LocalRun, Outcome
from pipelines.next_steps import show_next_steps
from pipelines.task_log import Status, Task
from ur4rec.data.summary import doubt_times, exclusion_table
from ur4rec.evaluation.history import HISTORY, read_history
from ur4rec.evaluation.results import HEADLINE_METRICS, Results, load_results
from ur4rec.registry.gate.verdict import format_number, load_verdict
from ur4rec.storage.artifacts import read_artifact
from ur4rec.storage.task_metrics import PEAK_MEMORY
from ur4rec.terminal import PlainConsole
from ur4rec.training.config import STAGES
from ur4rec.training.export import export_outputs

FILES = {"registration": "registration.json", "decision": "verdict.json", "promotion": "promotion.json"}
"""Output of the pipeline → name of its copy."""
METRICS = "metrics"
"""Name of the metrics output of every component; `kfp.local` keeps the outputs of a task side by side."""
UNLIMITED = 10_000


def export_run(outcome: Outcome, output_dir: Path) -> list[Path]:
    """Copies the artifacts to the names that users know; returns the files."""
    outputs = outcome.outputs
    memories = [outputs[f"{stage}_memories"] for stage in STAGES]
    others = {name: outputs[output] for output, name in FILES.items()}
    return export_outputs(outputs[STAGES[-1]], memories, outputs["results"], outputs["report"], output_dir, others)


def show_success(console: PlainConsole, run: LocalRun, outcome: Outcome, tracking_uri: str, seconds: float) -> None:
    """Prints the tables of a run that ended well, and what to do next.

    Args:
        console: Where to print.
        run: What was run.
        outcome: What became of it.
        tracking_uri: MLflow's address without credentials.
        seconds: Since the command began, so preparation and export are included.
    """
    results = load_results(outcome.outputs["results"])
    _show_data(console, outcome.outputs["sequences"])
    _show_tasks(console, outcome)
    _show_stages(console, outcome.outputs[STAGES[-1]] / HISTORY)
    show_test(console, results)
    _show_verdict(console, outcome.outputs["decision"])
    _show_end(console, outcome, seconds)
    show_next_steps(console, run, outcome, tracking_uri)


def _show_data(console: PlainConsole, sequences: Path) -> None:
    manifest = read_artifact(sequences)
    rows = exclusion_table(manifest)
    if rows:
        _show_table(console, "data", ("what", "count"), [(words, f"{count:,}") for words, count in rows])
    if doubt := doubt_times(manifest):
        console.tell((doubt, "yellow"))


def _show_tasks(console: PlainConsole, outcome: Outcome) -> None:
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
    if task.status is Status.CACHED or not task.outputs:  # those between the loops measure nothing
        return ""
    metrics = json.loads((outcome.outputs[task.outputs[0]].parent / METRICS).read_bytes())
    return f"{metrics[PEAK_MEMORY]:,.0f}"


def _show_stages(console: PlainConsole, history: Path) -> None:
    rows = [
        (stage.stage, str(stage.epochs), f"{stage.seconds:.1f}", f"{stage.validation['ndcg@10']:.4f}")
        for stage in read_history(history).stages
    ]
    _show_table(console, "training stages", ("stage", "epochs", "seconds", "validation ndcg@10"), rows)


def show_test(console: PlainConsole, results: Results) -> None:
    """Prints a line a system, with as many intervals as there is room for."""
    tables = [_make_test_table(results, num_intervals) for num_intervals in range(len(HEADLINE_METRICS), -1, -1)]
    table = next((table for table in tables if _measure(console, table) <= console.width), tables[-1])
    console.tell((f"test on {results.dataset.name}", "bold"))
    console.tell((str(results.protocol), "dim"))
    _print_table(console, table)


def _make_test_table(results: Results, num_intervals: int) -> Table:
    rows = [(system, *_list_headline(results, system, num_intervals)) for system in results.test]
    return _make_table(("system", *HEADLINE_METRICS), rows)


def _list_headline(results: Results, system: str, num_intervals: int) -> Iterable[str]:
    for number, name in enumerate(HEADLINE_METRICS):
        estimate = results.test[system][name]
        interval = f" [{', '.join(map(_shorten, estimate.ci95))}]" if number < num_intervals else ""
        yield f"{estimate.value:.4f}{interval}"


def _shorten(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")  # three columns of intervals fit on a terminal of 80


def _show_verdict(console: PlainConsole, decision: Path) -> None:
    verdict = load_verdict(decision)
    numbers = [(each, format_number(each.value), format_number(each.threshold)) for each in verdict.outcomes]
    rows = [(each.rule, each.outcome.partition(":")[0], *pair) for each, *pair in numbers]
    title = f"gate: {verdict.verdict}, version {verdict.challenger} against champion {verdict.champion}"
    _show_table(console, title, ("rule", "outcome", "value", "threshold"), rows)


def _show_end(console: PlainConsole, outcome: Outcome, seconds: float) -> None:
    cached = sum(task.status is Status.CACHED for task in outcome.tasks)
    executed = len(outcome.tasks) - cached
    console.tell(
        f"tasks: {executed} run, {cached} cached; {seconds:.0f} s of wall time, "
        f"largest process {outcome.peak_memory_mb:,.0f} MB"
    )


def _show_table(console: PlainConsole, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    console.tell((title, "bold"))
    _print_table(console, _make_table(columns, rows))


def _make_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number and column else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _measure(console: PlainConsole, table: Table) -> int:
    return Measurement.get(console, console.options.update(max_width=UNLIMITED), table).maximum


def _print_table(console: PlainConsole, table: Table) -> None:
    console.print(table)
    console.print()
