"""From finished units, and from the baselines, to ranks that can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ur4rec.data.sequences import Sequences
from ur4rec.evaluation.baselines import BASELINES, Baselines
from ur4rec.evaluation.comparison import rank_systems
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.evaluation.systems import SASREC
from ur4rec.experiments.ablation_table import Measured
from ur4rec.experiments.choices import Ablation
from ur4rec.experiments.ranks import HORIZONS
from ur4rec.experiments.units import MODEL, Unit, UnitRecord


def gather_units(finished: Mapping[Unit, UnitRecord], ablation: Ablation) -> dict[str, Measured]:
    """The variants that have a unit, in their order, then SASRec of the reference, if it has one."""
    measured = {}
    for name, variant in ablation.variants.items():
        if units := _units_of(name, finished):
            measured[name] = _stack(units, finished, MODEL, variant.description)
    units = _units_of(ablation.reference, finished)
    if units and SASREC in units[0].ranks()["test"]:
        measured[SASREC] = _stack(units, finished, SASREC, f"First stage of {ablation.reference} alone")
    return measured


def measure_baselines(data: Sequences, config: EvaluationConfig) -> tuple[dict[str, Measured], list[str]]:
    """The configured baselines, which know no seed, and notes on those left out."""
    baselines = Baselines(data, config)
    ranks = {horizon: rank_systems(data, baselines, horizon, config.eval_batch_size) for horizon in HORIZONS}
    measured = {
        name: Measured(BASELINES[name].description, (), ranks["validation"][name][None], rank[None])
        for name, rank in ranks["test"].items()
    }
    return measured, baselines.notes


def _units_of(name: str, finished: Mapping[Unit, UnitRecord]) -> list[Unit]:
    return sorted((unit for unit in finished if unit.name == name), key=lambda unit: unit.config.seed)


def _stack(units: Sequence[Unit], finished: Mapping[Unit, UnitRecord], system: str, description: str) -> Measured:
    ranks = [unit.ranks() for unit in units]
    records = [finished[unit] for unit in units]
    variant = system == MODEL
    return Measured(
        description,
        tuple(unit.config.seed for unit in units),
        np.stack([rank["validation"][system] for rank in ranks]),
        np.stack([rank["test"][system] for rank in ranks]),
        records[0].settings if variant else {},
        _mean([record.expert_weights for record in records]) if variant else {},
        float(np.mean([sum(record.timings_s.values()) for record in records])) if variant else None,
    )


def _mean(weights: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([each[name] for each in weights])) for name in weights[0]}
