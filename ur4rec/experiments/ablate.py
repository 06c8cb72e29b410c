"""Trains every variant with every seed, and compares them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ur4rec.config import Config
from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.experiments.ablation_report import write_ablation
from ur4rec.experiments.ablation_table import (
    AblationTable,
    Dataset,
    Measured,
    compare,
    describe_few_seeds,
    find_long_tail,
)
from ur4rec.experiments.choices import Ablation, check_protocol
from ur4rec.experiments.measurements import gather_units, measure_baselines
from ur4rec.experiments.stage_cache import StageInputs, read_inputs
from ur4rec.experiments.units import Unit, UnitRecord, run_unit
from ur4rec.experiments.variants import configure
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
    """Trains what is missing and writes `ablation.json` and `ablation.md`.

    Args:
        sequences: Sequences artifact folder.
        embeddings: Text embeddings artifact folder.
        output: Folder of the ablation; what an earlier run has left there is used.
        config: The base configuration.
        ablation: What to compare.
        jobs: Units trained at once, each in a process of its own.
        device: `auto`, `cpu` or `cuda`.
        on_unit: Called in this process.

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
    units = list_units(output, config, ablation, lambda _: inputs)
    output.mkdir(parents=True, exist_ok=True)
    finished, failures = train_units(units, ablation, jobs, on_unit)
    baselines, notes = measure_baselines(data, config.narrow(EvaluationConfig))
    measured = gather_units(finished, ablation) | baselines
    table = tabulate(data, measured, config, ablation, failures, notes)
    write_ablation(table, output)
    return table


def list_units(output: Path, config: Config, ablation: Ablation, inputs_of: Callable[[str], StageInputs]) -> list[Unit]:
    """Every variant with every seed, variant by variant.

    Args:
        output: Folder of the ablation.
        config: The base configuration.
        ablation: Variants and seeds.
        inputs_of: Name of a variant → what it is trained from.

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
    """Trains, of the selected units, those that no earlier run has finished.

    Args:
        units: Of all variants and seeds.
        ablation: Says which are selected.
        jobs: Units trained at once.
        on_unit: Called in this process.

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


def tabulate(
    data: Sequences,
    measured: dict[str, Measured],
    config: Config,
    ablation: Ablation,
    failures: dict[str, str],
    notes: list[str],
) -> AblationTable:
    """Compares what was measured, over all targets and over those of the long tail.

    Args:
        data: What was measured on.
        measured: Systems on its targets.
        config: The base configuration.
        ablation: Names the metric and the reference.
        failures: Unit → its error.
        notes: Such as a baseline that was left out; one on few seeds is added.
    """
    samples = config.bootstrap_samples
    rare_val, rare_test = find_long_tail(data, data.val), find_long_tail(data, data.test)
    rare = {}
    if rare_val.any() and rare_test.any():
        rare = {name: system.limited_to(rare_val, rare_test) for name, system in measured.items()}
    rows = compare(measured, ablation.reference, ablation.metric, samples)
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
