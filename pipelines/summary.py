"""What is shown when a local run has ended, well or not, and the files it leaves behind."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.measure import Measurement
from rich.table import Table

from pipelines.local_run import LocalRun, Outcome
from pipelines.tasks import Status, Task
from ur4rec.auto.settle import spell
from ur4rec.commands.console import USER_ERROR
from ur4rec.data.sequences import USER_MAP
from ur4rec.data.summary import exclusion_table, list_warnings
from ur4rec.evaluation.history import HISTORY, read_history
from ur4rec.evaluation.results import HEADLINE_METRICS, Results, ResultsError, load_results
from ur4rec.evaluation.slices import TARGET_COUNT, slice_title
from ur4rec.registry.champion.retrain import RetrainOutcome
from ur4rec.registry.gate.verdict import format_number, load_verdict
from ur4rec.registry.register import Registration
from ur4rec.storage.artifacts import REASONS, read_artifact
from ur4rec.storage.task_metrics import PEAK_MEMORY
from ur4rec.storage.writing import WriteError
from ur4rec.terminal import PlainConsole
from ur4rec.training.export import LOGS, REPORT, RESULTS, export_outputs
from ur4rec.training.stage_names import STAGES

FILES = {"registration": "registration.json", "decision": "verdict.json", "promotion": "promotion.json"}
"""Output of the pipeline → name of its copy."""
METRICS = "metrics"
"""Name of the metrics output of every component; `kfp.local` keeps the outputs of a task side by side."""
UNLIMITED = 10_000
SHOWN_LOG_LINES = 20
NO_ERROR = (
    "the task's process ended without an error message; it may have been killed, for example for lack of memory: "
    "lower batch_size, eval_batch_size, text_batch_size or max_seq_len"
)


def export_run(outcome: Outcome, output_dir: Path) -> list[Path]:
    """Copy the artifacts to the names that users know; return the files."""
    outputs = outcome.outputs
    memories = [outputs[f"{stage}_memories"] for stage in list_stages(outcome)]
    others = {name: outputs[output] for output, name in FILES.items()}
    return export_outputs(outputs[STAGES[-1]], memories, outputs["results"], outputs["report"], output_dir, others)


def list_stages(outcome: Outcome) -> list[str]:
    """Return the names of the stages that the system of a run has."""
    return [stage.stage for stage in read_history(outcome.outputs[STAGES[-1]] / HISTORY).stages]


def show_success(console: PlainConsole, run: LocalRun, outcome: Outcome, seconds: float) -> None:
    """Print the tables of a run that ended well after so many seconds, and what to do next."""
    results = load_results(outcome.outputs["results"])
    show_data(console, outcome.outputs["sequences"])
    _show_tasks(console, outcome)
    show_settings(console, [outcome.outputs[f"{stage}_memories"] for stage in list_stages(outcome)])
    _show_stages(console, outcome.outputs[STAGES[-1]] / HISTORY)
    show_test(console, results)
    _show_verdict(console, outcome.outputs["decision"])
    _show_end(console, outcome, seconds)
    _show_next_steps(console, run, outcome)


def show_failure(console: PlainConsole, run: LocalRun, outcome: Outcome) -> int:
    """Print the error, the end of the log where the error does not say all, and where the whole log is.

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
    """Say whose results a folder still holds, since only a run that ends well replaces them."""
    results = output_dir / RESULTS
    if results.is_file():
        console.tell(f"{output_dir} still holds the results of an earlier run ({_name_dataset(results)})")


def show_data(console: PlainConsole, sequences: Path) -> None:
    """Print what was left out of the data, and what is out of the ordinary."""
    manifest = read_artifact(sequences)
    rows = exclusion_table(manifest)
    if rows:
        _show_table(console, "data", ("what", "count"), [(words, f"{count:,}") for words, count in rows])
    for warning in list_warnings(manifest):
        console.tell((warning, "yellow"))


def show_settings(console: PlainConsole, folders: Iterable[Path]) -> None:
    """Print the settings that the data have decided, as the artifacts of the stages tell them, with the reasons."""
    rows = {
        name: (name, spell(manifest.config[name]), reason)
        for manifest in map(read_artifact, folders)
        for name, reason in manifest.details.get(REASONS, {}).items()
    }
    if rows:
        _show_table(console, "settings from the data", ("setting", "value", ""), rows.values())


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
    """Print a line a system, with as many intervals as there is room for."""
    tables = [_make_test_table(results, num_intervals) for num_intervals in range(len(HEADLINE_METRICS), -1, -1)]
    unlimited = console.options.update(max_width=UNLIMITED)
    table = next(
        (table for table in tables if Measurement.get(console, unlimited, table).maximum <= console.width), tables[-1]
    )
    console.tell((f"test on {results.dataset.name}", "bold"))
    console.tell((str(results.protocol), "dim"))
    _print_table(console, table)
    if names := results.list_metrics:
        rows = [
            (system, *(f"{figures[name].value:.4f}" if name in figures else "–" for name in names))
            for system, figures in results.lists.items()
        ]
        _show_table(console, "what the systems would recommend", ("system", *names), rows)
    columns, by_count = results.tabulate_slices(TARGET_COUNT)
    if by_count:
        shown = [(str(system), *(f"{value:.4f}" for value in values)) for system, *values in by_count]
        _show_table(console, f"{HEADLINE_METRICS[0]} of {slice_title(TARGET_COUNT)}", columns, shown)
    for note in results.notes:
        console.tell((note, "yellow"))


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


def _print_table(console: PlainConsole, table: Table) -> None:
    console.print(table)
    console.print()


def _show_next_steps(console: PlainConsole, run: LocalRun, outcome: Outcome) -> None:
    """Print where the results are, and what to do with them, in lines for the shell."""
    registration = Registration.model_validate_json(outcome.outputs["registration"].read_bytes())
    promotion = RetrainOutcome.model_validate_json(outcome.outputs["promotion"].read_bytes())
    maker = next(task for task in outcome.tasks if "registration" in task.outputs)
    is_new = maker.status is not Status.CACHED
    user = str(next(iter(json.loads((outcome.outputs["sequences"] / USER_MAP).read_bytes()))))
    for name, text in (
        ("report", str(run.output_dir / REPORT)),
        ("outputs", str(run.output_dir)),
        ("model", describe_version(registration, is_new)),
        ("gate", promotion.notice),
        ("experiments", _browse(run.tracking_uri)),
        ("curves", f"{name_program('tensorboard')} --logdir {shlex.quote(str(run.output_dir / LOGS))}"),
        ("try it", recommend_command(registration, is_new, user)),
    ):
        console.tell(f"{name + ':':<13}{text}")


def describe_version(registration: Registration, is_new: bool) -> str:
    """Return the version in words; the alias of one that is not new may have moved on."""
    version = f"{registration.name} version {registration.version}"
    return f"{version}, alias {registration.alias}" if is_new else f"{version}, registered in an earlier run"


def recommend_command(registration: Registration, is_new: bool, user: str) -> str:
    """Return the command that asks this run's model; the alias of one that is not new may have moved on."""
    model = f"models:/{registration.name}@{registration.alias}" if is_new else registration.model_uri
    return f"{name_program('ur4rec')} recommend --user {shlex.quote(user)} --model {shlex.quote(model)}"


def name_program(program: str) -> str:
    """Return what to type for a program of this environment: its name where the shell finds it, else its path."""
    own = Path(sys.executable).parent / program
    found = shutil.which(program)
    if not own.exists() or (found and own.samefile(found)):
        return program
    here = Path.cwd()
    return shlex.quote(str(own.relative_to(here) if own.is_relative_to(here) else own))


def _browse(tracking_uri: str) -> str:
    if tracking_uri.startswith("http"):
        return tracking_uri
    return f"{name_program('mlflow')} ui --backend-store-uri {shlex.quote(tracking_uri)}"


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
