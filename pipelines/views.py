"""Shows a run while it lasts: a table that lives on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipelines.tasks import Status, Task
from ur4rec.terminal import PlainConsole, make_inert

REFRESHES_PER_SECOND = 4
PLAIN_INTERVAL_S = 10.0
BAR_WIDTH = 24

MARKS = {
    Status.WAITING: ("·", "dim"),
    Status.RUNNING: ("▶", "bold cyan"),
    Status.DONE: ("✓", "green"),
    Status.CACHED: ("✓", "blue"),
    Status.FAILED: ("✗", "bold red"),
    Status.SKIPPED: ("–", "dim"),
    Status.CANCELED: ("✗", "yellow"),
}


class View(Protocol):
    """Told about every change of a task."""

    def update(self, task: Task) -> None:
        """Takes a task whose status or progress has changed."""


@contextmanager
def open_view(console: PlainConsole, tasks: list[Task], footer: str) -> Iterator[View]:
    """Open the view that fits the console: of tasks that are updated elsewhere, with a line below them."""
    if not console.is_terminal or console.is_dumb_terminal:
        yield PlainView(console)
        return
    view = LiveView(tasks, footer)
    with Live(
        get_renderable=view.render,
        console=console,
        refresh_per_second=REFRESHES_PER_SECOND,
        redirect_stdout=False,
        redirect_stderr=False,
    ):
        yield view


class LiveView:
    """A row a task, drawn anew several times a second."""

    def __init__(self, tasks: list[Task], footer: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._tasks = tasks
        self._footer = footer
        self._clock = clock
        self._started = clock()

    def update(self, task: Task) -> None:
        """Nothing to do: the next drawing reads the tasks."""

    def render(self) -> RenderableType:
        """Return the table as of now."""
        table = Table.grid(padding=(0, 2))
        for task in self._tasks:
            mark, style = MARKS[task.status]
            took = self._clock() - task.started if task.status is Status.RUNNING else task.seconds
            seconds = Text(format_seconds(took), justify="right")
            table.add_row(Text(mark, style), Text(task.title, style), seconds, _render_bar(task), _describe(task))
        finished = sum(task.status in (Status.DONE, Status.CACHED, Status.SKIPPED) for task in self._tasks)
        elapsed = format_seconds(self._clock() - self._started)
        summary = f"{finished} of {len(self._tasks)} tasks, {elapsed}   {self._footer}"
        return Group(table, Text(make_inert(summary), "dim", overflow="fold"))


class PlainView:
    """A line where a task starts or ends, and its progress now and then and at its end."""

    def __init__(self, console: PlainConsole, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._shown: dict[str, Status] = {}
        self._last_progress = float("-inf")
        self._shown_progress: dict[str, object] | None = None

    def update(self, task: Task) -> None:
        """Print what changed."""
        if self._shown.get(task.name) is task.status:
            if self._clock() - self._last_progress >= PLAIN_INTERVAL_S:
                self._print_progress(task)
            return
        if task.progress and task.progress is not self._shown_progress:
            self._print_progress(task)
        self._shown[task.name] = task.status
        self._last_progress = self._clock()
        took = f" in {format_seconds(task.seconds)}" if task.seconds is not None else ""
        self._console.tell(f"{task.title}: {task.status}{took}")

    def _print_progress(self, task: Task) -> None:
        self._last_progress = self._clock()
        self._shown_progress = task.progress
        self._console.tell(f"{task.title}: {format_progress(task.progress)}")


def find_fraction(progress: dict[str, object]) -> tuple[str, int, int] | None:
    """Find the counter among the numbers: `epoch` beside `epochs`, `text` beside `texts`.

    >>> find_fraction({"epoch": 3, "epochs": 60, "loss": 6.1})
    ('epoch', 3, 60)
    """
    for name, value in progress.items():
        total = progress.get(f"{name}s")
        if isinstance(value, int | float) and isinstance(total, int | float) and total > 0:
            return name, int(value), int(total)
    return None


def format_progress(progress: dict[str, object]) -> str:
    """Return the numbers in words.

    >>> format_progress({"epoch": 3, "epochs": 60, "loss": 6.1, "ndcg@10": 0.09})
    'epoch 3/60, loss 6.1000, ndcg@10 0.0900'
    """
    fraction = find_fraction(progress)
    counter = {fraction[0], f"{fraction[0]}s"} if fraction else set()
    parts = [f"{fraction[0]} {fraction[1]}/{fraction[2]}"] if fraction else []
    parts += [f"{name} {_format_value(value)}" for name, value in progress.items() if name not in counter]
    return ", ".join(parts)


def _describe(task: Task) -> Text:
    if task.status is Status.RUNNING and task.progress:
        return Text(make_inert(format_progress(task.progress)))
    return Text(task.status.value, "dim")


def _render_bar(task: Task) -> RenderableType:
    fraction = find_fraction(task.progress)
    if task.status is not Status.RUNNING or fraction is None:
        return ""
    return ProgressBar(total=fraction[2], completed=fraction[1], width=BAR_WIDTH)


def format_seconds(seconds: float | None) -> str:
    """Return a time in minutes and seconds; nothing where they are not known."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _format_value(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
