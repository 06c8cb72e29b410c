"""Progress of a long loop: a bar on a terminal, a line for every tenth elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ur4rec.progress import report

TENTHS = 10


@contextmanager
def show_progress(task: str, total: int) -> Iterator[Callable[[int], None]]:
    """Shows how much of `total` is done.

    Args:
        task: What is running.
        total: Number of texts.

    Yields:
        A function that takes the number of texts done since its last call.
    """
    if not sys.stdout.isatty():
        yield _create_line_printer(task, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        running = bar.add_task(task, total=total)
        yield lambda count: bar.advance(running, count)


def _create_line_printer(task: str, total: int) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        before = done * TENTHS // total
        done += count
        if done * TENTHS // total > before:
            report(task, {"text": done, "texts": total})

    return advance
