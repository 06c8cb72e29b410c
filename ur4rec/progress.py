"""Progress of a task as lines that a person and a program can read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from threading import Lock

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
