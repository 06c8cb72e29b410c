"""Progress of a task as lines that a person and a program can read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ur4rec.terminal import PlainColumn

TENTHS = 10

Advance = Callable[[int], None]
"""Takes how much was done since its last call; any thread may call it."""


def report(task: str, values: Mapping[str, float | int | str]) -> None:
    """Prints `progress <task> <json>`."""
    rounded = {key: round(value, 5) if isinstance(value, float) else value for key, value in values.items()}
    print(f"progress {task} {json.dumps(rounded)}", flush=True)


def report_tenths(task: str, unit: str, total: int) -> Advance:
    """Prints a line for every tenth.

    Args:
        task: What is running.
        unit: Of what is counted.
        total: How many of them there are.
    """
    done, lock = 0, Lock()

    def advance(count: int) -> None:
        nonlocal done
        with lock:
            before = done * TENTHS // max(total, 1)
            done += count
            if done * TENTHS // max(total, 1) > before:
                report(task, {unit: done, f"{unit}s": total})

    return advance


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
