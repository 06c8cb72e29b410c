"""What a pipeline task tells about itself: numbers in the user interface and in a file."""

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
        """Shows a number in the user interface."""


def log_metrics(artifact: MetricsArtifact, values: Mapping[str, float]) -> None:
    """Logs numbers, and the peak memory of this process beside them.

    The same numbers are written as the artifact's file: a runner that caches by the existence of files would
    take an artifact without one for lost and run its task again.
    """
    numbers = {name: float(value) for name, value in values.items()} | {PEAK_MEMORY: peak_memory_mb()}
    for name, value in numbers.items():
        artifact.log_metric(name, value)
    path = Path(artifact.path)
    write_text_atomic(path, json.dumps(numbers, indent=2) + "\n")
