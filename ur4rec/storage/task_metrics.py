"""What a pipeline task tells: numbers in the user interface and in a file, and how the whole run ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from ur4rec.storage.artifacts import peak_memory_mb, write_text_atomic

PEAK_MEMORY = "peak_memory_mb"


class MetricsArtifact(Protocol):
    """The part of `kfp.dsl.Metrics` that is used here."""

    path: str

    def log_metric(self, metric: str, value: float) -> None:
        """Show a number in the user interface."""


def log_metrics(artifact: MetricsArtifact, values: Mapping[str, float]) -> None:
    """Log numbers, and the peak memory of this process beside them.

    The same numbers are written as the artifact's file: a runner that caches by the existence of files would
    take an artifact without one for lost and run its task again.
    """
    numbers = {name: float(value) for name, value in values.items()} | {PEAK_MEMORY: peak_memory_mb()}
    for name, value in numbers.items():
        artifact.log_metric(name, value)
    path = Path(artifact.path)
    write_text_atomic(path, json.dumps(numbers, indent=2) + "\n")


GOOD_ENDS = ("SUCCEEDED", "COMPLETE", "CACHED")
"""What versions of the service call a run that ended well."""


def report_outcome(state: str, run: str, error: str | None) -> None:
    """Print how a run ended; see `describe_outcome`."""
    print(describe_outcome(state, run, error), flush=True)


def describe_outcome(state: str, run: str, error: str | None) -> str:
    """Return one line of how a run ended.

    Args:
        state: By the name that the service gives it, such as `FAILED`.
        run: Its name.
        error: What the service says about a failure; may be missing or have several lines.

    >>> describe_outcome("COMPLETE", "runs/7", "")
    'run succeeded: runs/7'
    >>> describe_outcome("FAILED", "runs/7", "Task evaluate failed.")
    'run failed: runs/7: Task evaluate failed.'
    """
    if state in GOOD_ENDS:
        return f"run succeeded: {run}"
    return ": ".join(filter(None, [f"run {state.lower()}", run, " ".join((error or "").split())]))
