"""Trains every variant with every seed, and compares them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ur4rec.auto.settle import settle
from ur4rec.config import Config
from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.evaluation.baselines import BASELINES, Baselines
from ur4rec.evaluation.comparison import rank_systems
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.evaluation.slices import SLICES, TARGET_COUNT
from ur4rec.evaluation.systems import SASREC
from ur4rec.experiments.ablation_table import (
    AblationTable,
    Dataset,
    Measured,
    compare,
    describe_few_seeds,
    find_long_tail,
    write_ablation,
)
from ur4rec.experiments.stage_cache import StageInputs, read_inputs
from ur4rec.experiments.units import HORIZONS, MODEL, Unit, UnitRecord, run_unit
from ur4rec.experiments.variants import Ablation, check_protocol, configure
from ur4rec.experiments.workers import Failure, run_all
from ur4rec.experiments.yaml_files import ExperimentError
from ur4rec.storage.writing import writing

OnUnit = Callable[[Unit, int, int], None]
"""Called with a unit that has ended, the number of those that have, and the number of all."""


def ablate(
    sequences: Path,
    embeddings: Path,
    output: Path,
    config: Config,
    ablation: Ablation,
    jobs: int = 1,
    device: str = "auto",
    on_unit: OnUnit = lambda unit, done, total: None,
) -> AblationTable:
    """Train what an earlier run has not left in `output`, and write `ablation.json` and `ablation.md` there.

    As many units as `jobs` are trained at once, each in a process of its own.

    Returns:
        Every finished unit of every variant, also of those that `only` leaves out; `failures` names the others.

    Raises:
        ExperimentError: A name, metric or seed is wrong, or there is no test target.
        ConfigError: A variant's setting is unknown or out of range.
        ArtifactError: A folder is altered.
    """
    ablation.check()
    check_protocol(config.narrow(EvaluationConfig))
    inputs = read_inputs(sequences, embeddings, device)
    data = load_sequences(sequences)
    if not len(data.test):
        raise ExperimentError(f"{sequences}: holds no test target; loosen the filters or choose another split")
    config = settle(config, data, "ablate")
    units = list_units(output, config, ablation, lambda _: inputs)
    output.mkdir(parents=True, exist_ok=True)
    finished, failures = train_units(units, ablation, jobs, on_unit)
    baselines, notes = measure_baselines(data, config.narrow(EvaluationConfig), config.excludes_seen)
    measured = gather_units(finished, ablation) | baselines
    table = tabulate(data, measured, config, ablation, failures, notes)
    write_ablation(table, output)
    return table


def list_units(output: Path, config: Config, ablation: Ablation, inputs_of: Callable[[str], StageInputs]) -> list[Unit]:
    """Pair every variant with every seed, variant by variant; `inputs_of` its name is what one is trained from.

    Raises:
        ConfigError: A variant's setting is unknown or out of range.
        ExperimentError: A setting would change nothing, or the system lacks the stage or the part.
    """
    configs = {name: configure(name, variant, config) for name, variant in ablation.variants.items()}
    return [
        Unit(name, variant, Config.parse(configs[name].to_dict() | {"seed": seed}, "--seeds"), output, inputs_of(name))
        for name, variant in ablation.variants.items()
        for seed in ablation.seeds
    ]


def train_units(
    units: Sequence[Unit], ablation: Ablation, jobs: int, on_unit: OnUnit = lambda unit, done, total: None
) -> tuple[dict[Unit, UnitRecord], dict[str, str]]:
    """Train the units that the ablation selects and no earlier run has finished, as many as `jobs` at once.

    Returns:
        Every finished unit, also of those not selected, and the error of each that failed.
    """
    finished = {unit: record for unit in units if (record := unit.record())}
    selected = [unit for unit in units if ablation.is_selected(unit.name)]
    missing = [unit for unit in selected if unit not in finished]
    failures, total = {}, len(selected)
    for number, (unit, outcome) in enumerate(run_all(run_unit, missing, jobs), total - len(missing) + 1):
        if isinstance(outcome, Failure):
            failures[str(unit)] = outcome.error
            unit.log.parent.mkdir(parents=True, exist_ok=True)
            with writing(unit.log), unit.log.open("a", encoding="utf-8") as log:
                log.write(outcome.traceback or outcome.error)
        else:
            finished[unit] = outcome
        on_unit(unit, number, total)
    return finished, failures


def gather_units(finished: Mapping[Unit, UnitRecord], ablation: Ablation) -> dict[str, Measured]:
    """Return the variants that have a unit, in their order, then SASRec of the reference, if it has one."""
    measured = {}
    for name, variant in ablation.variants.items():
        if units := _units_of(name, finished):
            measured[name] = _stack(units, finished, MODEL, variant.description)
    units = _units_of(ablation.reference, finished)
    if units and SASREC in units[0].ranks()["test"]:
        measured[SASREC] = _stack(units, finished, SASREC, f"First stage of {ablation.reference} alone")
    return measured


def measure_baselines(
    data: Sequences, config: EvaluationConfig, excludes_seen: bool = True
) -> tuple[dict[str, Measured], list[str]]:
    """Measure the configured baselines, which know no seed; the notes tell which were left out."""
    baselines = Baselines(data, config, excludes_seen)
    rank_at = partial(rank_systems, batch_size=config.eval_batch_size, excludes_seen=excludes_seen)
    ranks = {horizon: rank_at(data, baselines, horizon) for horizon in HORIZONS}
    measured = {
        name: Measured(BASELINES[name].description, (), ranks["validation"][name][None], rank[None])
        for name, rank in ranks["test"].items()
    }
    return measured, baselines.notes


def tabulate(
    data: Sequences,
    measured: dict[str, Measured],
    config: Config,
    ablation: Ablation,
    failures: dict[str, str],
    notes: list[str],
) -> AblationTable:
    """Compare what was measured, over all targets, by target count and over the long tail; few seeds are noted."""
    samples = config.bootstrap_samples
    rare_val, rare_test = find_long_tail(data, data.val), find_long_tail(data, data.test)
    rare = {}
    if rare_val.any() and rare_test.any():
        rare = {name: system.limited_to(rare_val, rare_test) for name, system in measured.items()}
    groups = SLICES[TARGET_COUNT].groups(data, data.test)
    rows = compare(measured, ablation.reference, ablation.metric, samples, groups)
    return AblationTable(
        dataset=Dataset(
            name=data.name,
            digest=data.digest,
            num_users=data.num_users,
            num_items=data.num_items,
            num_targets=len(data.test),
            num_long_tail=int(rare_test.sum()),
        ),
        metric=ablation.metric,
        reference=ablation.reference,
        config=config.to_dict(),
        bootstrap_samples=samples,
        rows=rows,
        long_tail=compare(rare, ablation.reference, ablation.metric, samples),
        failures=failures,
        notes=[*notes, *describe_few_seeds(rows)],
    )


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
