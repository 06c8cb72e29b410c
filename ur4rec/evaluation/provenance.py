"""What a result was made from: configuration, seeds, time and memory of every task, versions."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from ur4rec.evaluation.history import TrainingHistory
from ur4rec.storage.artifacts import Manifest
from ur4rec.text.artifact import TEXT_SETTINGS

_REPORTED_PACKAGES = ("ur4rec", "torch", "numpy", "scipy", "pandas", "sentence-transformers", "transformers")


@dataclass(frozen=True)
class Provenance:
    """Merged from the manifests and the training history."""

    config: dict[str, Any]
    seeds: list[int]
    timings_s: dict[str, float]
    peak_memory_mb: dict[str, float]


def trace(manifests: Sequence[Manifest], history: TrainingHistory) -> Provenance:
    """Merge what the tasks noted about themselves; the history adds the stages whose artifacts are not at hand.

    Manifests are in the order in which the tasks ran: a later one wins where two disagree on a setting. A task may have
    written several artifacts, and a stage also notes its time in the history: the largest figure is the whole task's.
    """
    written = {key: value for manifest in manifests for key, value in manifest.details.get(TEXT_SETTINGS, {}).items()}
    config = written | {key: value for manifest in manifests for key, value in manifest.config.items()}
    seed = config.get("seed")
    stages = [(stage.stage, stage.seconds) for stage in history.stages]
    timings = [(manifest.producer, manifest.seconds) for manifest in manifests]
    before = [timing for timing in timings if timing[0] not in dict(stages)]
    return Provenance(
        config=config,
        seeds=[] if seed is None else [int(seed)],
        timings_s=_largest([*before, *stages, *timings]),
        peak_memory_mb=_largest((manifest.producer, manifest.peak_memory_mb) for manifest in manifests),
    )


def describe_versions() -> dict[str, str]:
    """Python, platform, and the packages that move the numbers."""
    packages = {name: version(name) for name in _REPORTED_PACKAGES}
    return {"python": platform.python_version(), "platform": platform.platform(terse=True)} | packages


def _largest(figures: Iterable[tuple[str, float]]) -> dict[str, float]:
    largest: dict[str, float] = {}
    for name, value in figures:
        largest[name] = max(value, largest.get(name, 0.0))
    return largest
