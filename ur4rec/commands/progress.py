"""Turns the `progress <task> <json>` lines of a library call into bars on a terminal."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TimeElapsedColumn,
)
from rich.text import Text

from ur4rec.terminal import PlainColumn, PlainConsole, make_inert

PREFIX = "progress"


@contextmanager
def progress_bars(console: PlainConsole | None = None) -> Iterator[None]:
    """Draw a bar a task while the block runs; elsewhere than on a terminal the lines stay as they are."""
    console = console or PlainConsole(file=sys.stdout)
    if not console.is_terminal:
        yield
        return
    bars = Progress(*bar_columns("numbers"), console=console, redirect_stdout=False, redirect_stderr=False)
    with bars, redirect_stdout(ProgressLines(bars)):
        yield


def bar_columns(field: str) -> tuple[ProgressColumn, ...]:
    """Return what every bar shows; `field` of a task is its own text."""
    return (
        PlainColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        PlainColumn(f"{{task.fields[{field}]}}"),
        TimeElapsedColumn(),
    )


class ProgressLines(io.TextIOBase):
    """A stream that feeds bars and prints every other line above them."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._pending = ""

    def write(self, text: str) -> int:
        """Take text; act on whole lines."""
        *lines, self._pending = (self._pending + text).split("\n")
        for line in lines:
            self._take(line)
        return len(text)

    def _take(self, line: str) -> None:
        prefix, _, rest = line.partition(" ")
        task, _, values = rest.partition(" ")
        if prefix == PREFIX and values.startswith("{"):
            self._advance(task, json.loads(values))
        else:
            self._bars.console.print(Text(make_inert(line)), soft_wrap=True)

    def _advance(self, task: str, values: Mapping[str, float]) -> None:
        if task not in self._tasks:
            for earlier in self._tasks.values():
                self._bars.stop_task(earlier)
            self._tasks[task] = self._bars.add_task(task, total=values.get("epochs"), numbers="")
        numbers = "  ".join(f"{name} {values[name]:.4f}" for name in ("loss", "ndcg@10") if name in values)
        self._bars.update(self._tasks[task], completed=values.get("epoch", 0), numbers=numbers)
