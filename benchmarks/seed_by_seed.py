"""Trainings of a comparison in the order of the seeds, so that a run that is stopped has whole comparisons."""

from __future__ import annotations

from collections.abc import Iterable

from ur4rec.experiments.ablate import train_units
from ur4rec.experiments.units import Unit, UnitRecord
from ur4rec.experiments.variants import Ablation


def train_seed_by_seed(
    units: Iterable[Unit], ablation: Ablation, jobs: int
) -> tuple[dict[Unit, UnitRecord], dict[str, str]]:
    """Trains what is missing and prints a line for each unit that has ended; returns what `train_units` does."""
    return train_units(sorted(units, key=lambda unit: unit.config.seed), ablation, jobs, _announce)


def _announce(unit: Unit, done: int, total: int) -> None:
    print(f"{done}/{total} {unit}", flush=True)
