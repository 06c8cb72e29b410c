"""Progress of a transfer: a bar on a terminal, a line for every tenth elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ur4rec.progress import report

TENTHS = 10

Advance = Callable[[int], None]
"""Takes the number of bytes transferred since its last call; any thread may call it."""


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
        yield _create_line_printer(task, total_bytes)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn()) as bar:
        running = bar.add_task(task, total=total_bytes)
        yield lambda count: bar.advance(running, count)


def _create_line_printer(task: str, total_bytes: int) -> Advance:
    done, lock = 0, Lock()

    def advance(count: int) -> None:
        nonlocal done
        with lock:
            before = done * TENTHS // max(total_bytes, 1)
            done += count
            if done * TENTHS // max(total_bytes, 1) > before:
                report(task, {"byte": done, "bytes": total_bytes})

    return advance
