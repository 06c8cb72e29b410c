"""What `ur4rec ablate` and `ur4rec tune` show: progress, tables, failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.progress import Progress

from ur4rec.commands.console import show, show_table
from ur4rec.commands.progress import bar_columns
from ur4rec.progress import report
from ur4rec.terminal import PlainConsole

if TYPE_CHECKING:
    from ur4rec.experiments.ablation_table import AblationTable
    from ur4rec.experiments.tune import Tuning

SHOWN_TRIALS = 10
FAILED = 1


@contextmanager
def show_units(task: str) -> Iterator[Callable[[int, int, str, float | None], None]]:
    """A bar on a terminal, a line for each call elsewhere: done, total, what has ended, its value."""
    console = PlainConsole()
    if not console.is_terminal:
        yield lambda done, total, name, value: _print(task, done, total, name, value)
        return
    with Progress(*bar_columns("ended"), console=console) as bars:
        bar = bars.add_task(task, total=None, ended="")

        def advance(done: int, total: int, name: str, value: float | None) -> None:
            ended = name if value is None else f"{name}: {value:.4f}"
            bars.update(bar, completed=done, total=total, ended=ended)

        yield advance


def _print(task: str, done: int, total: int, name: str, value: float | None) -> None:
    values: dict[str, float | int | str] = {"done": done, "of": total, "ended": name}
    report(task, values if value is None else values | {"value": value})


def show_ablation(table: AblationTable, output: Path) -> None:
    """Every table, then exit code 1 where a unit failed."""
    show_tables(table, output)
    end_with(table.failures, f"logs: {output / 'units'}")


def show_tables(table: AblationTable, output: Path) -> None:
    """Every table, what to know of it, and where it is written."""
    from ur4rec.experiments.ablation_report import LEGEND, cells, columns, sections

    for title, rows in sections(table):
        show_table(title, columns(table), [cells(row) for row in rows])
    show(LEGEND)
    for note in table.notes:
        show(f"note: {note}")
    show(f"tables: {output / 'ablation.md'}, {output / 'ablation.json'}")


def show_base_outside(values: Mapping[str, object]) -> None:
    """A line where the base configuration is none of the trials; nothing where the space holds it."""
    if values:
        listed = ", ".join(f"{name} {value}" for name, value in values.items())
        show(f"the base configuration is no trial, and may be better than all of them; outside of the space: {listed}")


def show_tuning(tuning: Tuning, metric: str, output: Path) -> None:
    """The best trials, then exit code 1 where a trial failed."""
    if tuning.best:
        names = list(tuning.trials[0].settings)
        rows: list[Sequence[object]] = [
            (str(trial.number), f"{trial.value:.4f}", *(str(trial.settings[name]) for name in names))
            for trial in tuning.trials[:SHOWN_TRIALS]
        ]
        show_table(
            f"best of {len(tuning.trials)} trials, {tuning.num_pruned} more given up early",
            ("trial", f"validation {metric}", *names),
            rows,
        )
        if tuning.importance:
            show_table(
                "importance", ("key", "share"), [(name, f"{share:.2f}") for name, share in tuning.importance.items()]
            )
        elif tuning.missing_for_importance:
            show(f"importance: after {tuning.missing_for_importance} more complete trials; of fewer it would be noise")
        show(f"best: {output / 'best.yaml'}")
    else:
        show("no trial is complete: there is no best.yaml")
    end_with(tuning.failures, f"logs: {output / 'logs'}")


def end_with(failures: dict[str, str], hint: str) -> None:
    """One line a failure and exit code 1, where there is one."""
    if not failures:
        return
    for name, error in failures.items():
        PlainConsole(stderr=True).tell((f"failed: {name}: {error}", "red"))
    PlainConsole(stderr=True).tell(hint)
    raise typer.Exit(FAILED)
