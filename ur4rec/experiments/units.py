"""A unit of an ablation: one variant trained with one seed, and the ranks of its targets.

T targets.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Int64
from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from ur4rec.config import Config
from ur4rec.data.sequences import load_sequences
from ur4rec.evaluation.candidates import Horizon
from ur4rec.evaluation.comparison import rank_systems
from ur4rec.evaluation.systems import TrainedSystems
from ur4rec.experiments.stage_cache import STAGES_FOLDER, CachedStage, StageInputs, obtain_stages, plan_stages
from ur4rec.experiments.variants import Variant
from ur4rec.memory_limits import naming_settings
from ur4rec.models.config import Part
from ur4rec.ranking.metrics import metrics_from_ranks
from ur4rec.storage.artifacts import ArtifactError, read_artifact, write_artifact, write_text_atomic
from ur4rec.storage.code_digest import code_digest
from ur4rec.storage.writing import writing
from ur4rec.training.checkpoints import load_model
from ur4rec.training.config import StageConfig

CODE = "ur4rec.experiments.units"
PRODUCER = "ablate"
RECORD, RANKS = "unit.json", "ranks.npz"
MODEL = "model"
"""The variant in `ranks.npz`, beside `SASREC`, its first stage alone, where it has one."""
HORIZONS: tuple[Horizon, ...] = get_args(Horizon)

RanksAt = Mapping[str, Mapping[str, Int64[np.ndarray, "T 2"]]]
"""Horizon → system → first and last rank of each target, in the order of the sequences folder."""


class UnitRecord(BaseModel):
    """`unit.json`: what a unit was and what it came to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant: str
    description: str
    settings: dict[str, Any]
    part: str
    seed: int
    digest: str
    """Equal for equal settings, inputs and code."""
    dataset_digest: str
    stages: dict[str, str]
    """Stage → folder of its result under `stages/`."""
    validation: dict[str, FiniteFloat]
    test: dict[str, FiniteFloat]
    expert_weights: dict[str, FiniteFloat]
    """Mean router weight of each expert at the test; empty where the retriever takes no part."""
    timings_s: dict[str, FiniteFloat]
    """Stage → seconds it took whoever trained it; `rank`: scoring all targets."""


@dataclass(frozen=True, eq=False)
class Unit:
    """One variant with one seed; each object stands for itself."""

    name: str
    variant: Variant
    config: Config
    """The whole configuration, seed included."""
    output: Path
    """Folder of the ablation."""
    inputs: StageInputs

    def __str__(self) -> str:
        return f"{self.name}, seed {self.config.seed}"

    @property
    def folder(self) -> Path:
        """Artifact folder of the result."""
        return self.output / "units" / self.name / f"seed_{self.config.seed}"

    @property
    def log(self) -> Path:
        """What the training printed, and the traceback of an error."""
        return self.folder.with_suffix(".log")

    @property
    def cache(self) -> Path:
        """Where stages are shared."""
        return self.output / STAGES_FOLDER

    def digest(self) -> str:
        """Digest everything that shapes the ranks."""
        stages = plan_stages(self.cache, self.inputs, self.config.narrow(StageConfig), self.variant.stage)
        key = {"stages": [stage.digest for stage in stages], "part": self.variant.part, "code": _own_code()}
        return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()

    def record(self) -> UnitRecord | None:
        """What an earlier run has left; None where it left nothing, something altered or something else."""
        try:
            read_artifact(self.folder)
            record = UnitRecord.model_validate_json((self.folder / RECORD).read_bytes())
        except (ArtifactError, ValidationError):
            return None
        return record if record.digest == self.digest() else None

    def ranks(self) -> RanksAt:
        """Read what the unit, which must be finished, has ranked."""
        ranks: dict[str, dict[str, np.ndarray]] = {horizon: {} for horizon in HORIZONS}
        with np.load(self.folder / RANKS, allow_pickle=False) as arrays:
            for name in arrays:
                horizon, _, system = name.partition(".")
                ranks[horizon][system] = arrays[name]
        return ranks


def run_unit(unit: Unit) -> UnitRecord:
    """Train what is missing, rank the targets and write the unit's folder.

    Raises:
        ArtifactError: An input or a cached stage is altered.
    """
    unit.log.parent.mkdir(parents=True, exist_ok=True)
    with writing(unit.log), unit.log.open("w", encoding="utf-8", buffering=1) as log, redirect_stdout(log):
        stages = obtain_stages(unit.cache, unit.inputs, unit.config.narrow(StageConfig), unit.variant.stage)
        started = time.perf_counter()
        systems = _load_systems(stages, unit)
        ranks = _rank(unit, systems)
        timings = {stage.stage: stage.manifest().seconds for stage in stages}
        timings["rank"] = round(time.perf_counter() - started, 3)
        experts = {} if unit.variant.part is Part.SASREC else systems.expert_weights()
        record = _describe(unit, stages, ranks, experts, timings)
        with write_artifact(unit.folder, PRODUCER, unit.config, {"checkpoint": stages[-1].checkpoint}) as writer:
            arrays = {f"{horizon}.{system}": rank for horizon in HORIZONS for system, rank in ranks[horizon].items()}
            np.savez(writer.folder / RANKS, allow_pickle=False, **arrays)
            write_text_atomic(writer.folder / RECORD, record.model_dump_json(indent=2) + "\n")
    return record


@cache
def _own_code() -> str:
    return code_digest(CODE)


def _load_systems(stages: list[CachedStage], unit: Unit) -> TrainedSystems:
    model, sasrec = load_model(stages[-1].checkpoint, unit.inputs.device), None
    if model.sasrec is not None:
        # From its own folder: a shared first stage may have another retriever than the variant.
        sasrec = load_model(stages[0].checkpoint, unit.inputs.device)
    return TrainedSystems(model, sasrec, MODEL, unit.variant.part)


@naming_settings("eval_batch_size")
def _rank(unit: Unit, systems: TrainedSystems) -> RanksAt:
    data = load_sequences(unit.inputs.sequences)
    # The test comes last, so that `systems` then describes its state at the test.
    rank_at = partial(rank_systems, batch_size=unit.config.eval_batch_size, excludes_seen=systems.excludes_seen)
    return {horizon: rank_at(data, systems, horizon) for horizon in HORIZONS}


def _describe(
    unit: Unit, stages: list[CachedStage], ranks: RanksAt, experts: dict[str, float], timings: dict[str, float]
) -> UnitRecord:
    return UnitRecord(
        variant=unit.name,
        description=unit.variant.description,
        settings=unit.variant.settings,
        part=unit.variant.part,
        seed=unit.config.seed,
        digest=unit.digest(),
        dataset_digest=unit.inputs.sequences_digest,
        stages={stage.stage: stage.digest for stage in stages},
        validation=metrics_from_ranks(ranks["validation"][MODEL]),
        test=metrics_from_ranks(ranks["test"][MODEL]),
        expert_weights=experts,
        timings_s=timings,
    )
