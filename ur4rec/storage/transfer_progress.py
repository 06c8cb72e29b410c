"""Progress of a transfer: a bar on a terminal, a line for every tenth elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from ur4rec.progress import Advance, report_tenths
from ur4rec.terminal import PlainColumn


@contextmanager
def show_transfer(task: str, total_bytes: int) -> Iterator[Advance]:
    """Shows how much of `total_bytes` is transferred.

    Args:
        task: What is running.
        total_bytes: Of all files.

    Yields:
        What is to be called as bytes are transferred.
    """
    if not sys.stdout.isatty():
        yield report_tenths(task, "byte", total_bytes)
        return
    columns = (PlainColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn()) as bar:
        running = bar.add_task(task, total=total_bytes)
        yield lambda count: bar.advance(running, count)
