"""Progress of a long loop: a bar on a terminal, a line for every tenth elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from ur4rec.progress import Advance, report_tenths
from ur4rec.terminal import PlainColumn


@contextmanager
def show_progress(task: str, total: int) -> Iterator[Advance]:
    """Shows how much of `total` is done.

    Args:
        task: What is running.
        total: Number of texts.

    Yields:
        A function that takes the number of texts done since its last call.
    """
    if not sys.stdout.isatty():
        yield report_tenths(task, "text", total)
        return
    columns = (PlainColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        running = bar.add_task(task, total=total)
        yield lambda count: bar.advance(running, count)
