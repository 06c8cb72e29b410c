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
    """Print `progress <task> <json>`."""
    rounded = {key: round(value, 5) if isinstance(value, float) else value for key, value in values.items()}
    print(f"progress {task} {json.dumps(rounded)}", flush=True)


def report_tenths(task: str, unit: str, total: int) -> Advance:
    """Print a line for every tenth of `total`; `unit` names one of what is counted."""
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
def show_progress(task: str, total: int, unit: str = "text") -> Iterator[Advance]:
    """Show how much of `total` is done: a bar on a terminal, a line for every tenth elsewhere.

    Args:
        task: What is running.
        total: How many texts, users or bytes there are.
        unit: Which of them is counted.

    Yields:
        A function that takes how many were done since its last call.
    """
    if not sys.stdout.isatty():
        yield report_tenths(task, unit, total)
        return
    counted = (DownloadColumn(), TransferSpeedColumn()) if unit == "byte" else (MofNCompleteColumn(),)
    with Progress(PlainColumn("{task.description}"), BarColumn(), *counted, TimeRemainingColumn()) as bar:
        running = bar.add_task(task, total=total)
        yield lambda count: bar.advance(running, count)
