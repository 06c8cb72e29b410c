"""A million items: one epoch of the first two stages, ranking and memory updates, with seconds and memory of each part.

`python -m benchmarks.scale -o outputs/bench/scale.json`. The parts are those of `run_stage` (statistics, trainer,
scorer) on a generated catalogue, except that a sample of users is validated: ranking them all against all items costs
users × items whatever the code.
"""

from __future__ import annotations

import cProfile
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.table import Table

from benchmarks.catalogue import generate_sequences, generate_texts, split_histories
from benchmarks.peers import describe_machine
from benchmarks.phases import Phase, Phases
from benchmarks.profiles import FunctionCost, list_costs, tabulate_costs
from ur4rec.data.sequences import Histories
from ur4rec.models.config import CooccurrenceConfig, ModelConfig
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.models.user_memory import Runs
from ur4rec.ranking.metrics import metrics_from_ranks
from ur4rec.ranking.ranks import rank_users
from ur4rec.storage.artifacts import write_text_atomic
from ur4rec.terminal import PlainConsole
from ur4rec.training.config import StageConfig, TrainingConfig
from ur4rec.training.cooccurrence import count_pairs, fit_table, item_factors
from ur4rec.training.scoring import ModelScorer
from ur4rec.training.stages import PLANS
from ur4rec.training.trainer import SCORES_AT_ONCE, SELECTION_METRIC, Trainer, deterministic

MEMORY_LIMIT_MB = 8 * 1024
UPDATED_USERS = 100_000
SMALL = (943, 1682, 106)
"""Users, items and interactions a user of a catalogue as large as MovieLens-100K."""


@dataclass(frozen=True)
class Size:
    """How much is generated."""

    items: int
    users: int
    length: int
    validated: int
    """Users that are ranked."""
    text_width: int


@dataclass
class Measured:
    """What came out beside the phases."""

    phases: Phases = field(default_factory=Phases)
    validation: dict[str, list[float]] = field(default_factory=dict)
    """Stage → score before and after its epoch."""
    steps: dict[str, int] = field(default_factory=dict)
    profiles: dict[str, list[FunctionCost]] = field(default_factory=dict)


def run_scale(size: Size, config: StageConfig) -> Measured:
    """Everything at one size."""
    measured = Measured()
    mark = measured.phases.mark
    items = generate_sequences(size.users, size.items, size.length, config.seed)
    histories, targets = split_histories(items)
    mark("generate")
    model = UR4RecV2MoE(size.items, size.users, config.narrow(ModelConfig))
    mark("build the model")
    _add_texts(model, size, config.seed)
    mark("whiten the texts")
    _add_statistics(model, histories, config, measured.phases)
    sample = targets[np.linspace(0, len(targets) - 1, size.validated).astype(int)]
    for stage in list(PLANS)[:2]:
        _train(model, histories, sample, stage, config, measured)
    scorer = ModelScorer(model, histories)
    mark(f"memories of {size.users:,} users")
    with _profiled(measured, "ranking"):
        rank_users(scorer, sample, histories, max(1, SCORES_AT_ONCE // size.items))
    mark(f"rank {len(sample):,} users, fused")
    return measured


def _add_texts(model: UR4RecV2MoE, size: Size, seed: int) -> None:
    if size.text_width:
        none = torch.zeros(0, 2, dtype=torch.int64)
        texts = generate_texts(size.items, size.text_width, seed)
        model.retriever.encoder.text.fill(texts, texts[:0], torch.zeros(1, dtype=torch.int64), none, size.users)


def _add_statistics(model: UR4RecV2MoE, histories: Histories, config: StageConfig, phases: Phases) -> None:
    """What `run_stage` counts before the first stage."""
    assert model.sasrec is not None
    assert model.cooccurrence is not None
    shape = config.narrow(CooccurrenceConfig)
    counts = count_pairs(histories, model.num_items, shape)
    phases.mark(f"count pairs: {counts.nnz:,}")
    model.cooccurrence.fill(fit_table(counts, shape))
    phases.mark("neighbour table")
    width = max(config.sasrec_item_factors, config.sasrec_hidden_dim)
    model.sasrec.start_from(torch.from_numpy(item_factors(counts, width, config.seed)))
    phases.mark("item factors")


def _train(
    model: UR4RecV2MoE, histories: Histories, targets: np.ndarray, stage: str, config: StageConfig, measured: Measured
) -> None:
    phases, names = measured.phases, iter(("first validation", "epoch and validation"))
    trainer = Trainer(model, histories, targets, PLANS[stage], config.narrow(TrainingConfig))
    phases.mark(f"{stage}: prepare")
    with _profiled(measured, stage):
        record = trainer.run(lambda *_: _note(phases, f"{stage}: {next(names)}"))
    measured.validation[stage] = [entry[SELECTION_METRIC] for entry in record.series]
    measured.steps[stage] = trainer.step
    phases.mark(f"{stage}: best weights")


def _note(phases: Phases, name: str) -> None:
    phases.mark(name)


@contextmanager
def _profiled(measured: Measured, name: str) -> Iterator[None]:
    profile = cProfile.Profile()
    profile.enable()
    try:
        yield
    finally:
        profile.disable()
        measured.profiles[name] = list_costs(profile)


def time_memory_updates(num_users: int, phases: Phases, repeats: int = 3) -> list[Phase]:
    """`update_memory` of all users, and one step of a replay in which every memory is updated; the best of each."""
    torch.manual_seed(0)
    model = UR4RecV2MoE(1000, num_users, interaction_threshold=1, cooccurrence_neighbors=0).eval()
    users = torch.arange(1, num_users + 1)
    given = torch.randn(num_users, model.config.retriever_output_dim)
    items, ones = torch.randint(1, 1001, (num_users,)), torch.ones(num_users, dtype=torch.int64)
    phases.mark("prepare the memory updates")
    updates, steps = [], []
    for _ in range(repeats):
        model.update_memory(users, given, force=True)
        updates.append(phases.mark(f"update_memory, {num_users:,} users"))
        model.retriever.replay(Runs(items, torch.zeros_like(items), users - 1, ones))
        steps.append(phases.mark(f"replay step, {num_users:,} users"))
    return [min(found, key=lambda phase: phase.seconds) for found in (updates, steps)]


def time_small_ranking(phases: Phases, config: StageConfig, repeats: int = 3) -> list[Phase]:
    """A whole evaluation at the size of MovieLens-100K, replay of the memories included; the best."""
    num_users, num_items, length = SMALL
    histories, targets = split_histories(generate_sequences(num_users, num_items, length, config.seed))
    model = UR4RecV2MoE(num_items, num_users, config.narrow(ModelConfig))
    assert model.cooccurrence is not None
    shape = config.narrow(CooccurrenceConfig)
    model.cooccurrence.fill(fit_table(count_pairs(histories, num_items, shape), shape))
    phases.mark("prepare the small ranking")
    found = []
    for _ in range(repeats):
        scorer = ModelScorer(model, histories)
        metrics_from_ranks(rank_users(scorer, targets, histories, SCORES_AT_ONCE // num_items))
        found.append(phases.mark(f"rank {num_users:,} users in {num_items:,} items"))
    return [min(found, key=lambda phase: phase.seconds)]


def tabulate(title: str, phases: list[Phase]) -> Table:
    """Seconds and memory of each part."""
    table = Table("part", "seconds", "CPU s", "peak MiB", title=title, title_justify="left")
    for phase in phases:
        table.add_row(phase.name, f"{phase.seconds:.2f}", f"{phase.cpu_s:.2f}", f"{phase.peak_mb:,.0f}")
    return table


def main(
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON file to write.")],
    items: Annotated[int, typer.Option(min=100)] = 1_000_000,
    users: Annotated[int, typer.Option(min=10)] = 100_000,
    length: Annotated[int, typer.Option(min=3, help="Interactions a user.")] = 50,
    validated: Annotated[int, typer.Option(min=1, help="Users that are ranked.")] = 256,
    text_width: Annotated[int, typer.Option(min=0, help="Of the text embeddings; 0 for none.")] = 384,
    negatives: Annotated[int, typer.Option(min=1, help="Of a step.")] = 512,
    batch_size: Annotated[int, typer.Option(min=1)] = 512,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    seed: int = 42,
) -> None:
    """Train one epoch of two stages on a generated catalogue, rank, update memories."""
    torch.set_num_threads(threads)
    machine = describe_machine(threads)
    size = Size(items, users, length, min(validated, users), text_width)
    fields = {"num_negatives": negatives, "batch_size": batch_size, "epochs_per_stage": 1, "seed": seed}
    config = StageConfig.parse(fields, "scale")
    bars = Phases()
    small = [*time_memory_updates(UPDATED_USERS, bars), *time_small_ranking(bars, config)]
    with deterministic(seed):
        measured = run_scale(size, config)
    report = _report(size, fields, machine, measured, small)
    _print(report, measured, small)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomic(output, json.dumps(report, indent=1) + "\n")


def _report(
    size: Size, fields: dict[str, int], machine: dict[str, Any], measured: Measured, small: list[Phase]
) -> dict[str, Any]:
    phases = measured.phases.finished
    return {
        "size": asdict(size),
        "config": fields,
        "machine": machine | {"load_at_end": round(os.getloadavg()[0], 2)},
        "seconds": round(sum(phase.seconds for phase in phases), 1),
        "peak_mb": max(phase.peak_mb for phase in phases),
        "peak_limit_mb": MEMORY_LIMIT_MB,
        "phases": [asdict(phase) for phase in phases],
        "steps": measured.steps,
        "step_s": {stage: _step_seconds(measured, stage) for stage in measured.steps},
        "validation": measured.validation,
        "profiles": {name: [asdict(cost) for cost in costs] for name, costs in measured.profiles.items()},
        "small": [asdict(phase) for phase in small],
    }


def _step_seconds(measured: Measured, stage: str) -> float:
    """Seconds of a step: the epoch without its validation, which took as long as the first one."""
    found = {phase.name: phase.seconds for phase in measured.phases.finished}
    epoch = found[f"{stage}: epoch and validation"] - found[f"{stage}: first validation"]
    return round(epoch / measured.steps[stage], 4)


def _print(report: dict[str, Any], measured: Measured, small: list[Phase]) -> None:
    console, size = PlainConsole(width=120), report["size"]
    title = f"{size['items']:,} items, {size['users']:,} users × {size['length']}"
    console.print(tabulate(title, measured.phases.finished))
    for name, costs in measured.profiles.items():
        console.print(tabulate_costs(f"{name}: functions", costs))
    console.print(tabulate("bars, one second each", small))
    within = "within" if report["peak_mb"] < MEMORY_LIMIT_MB else "ABOVE"
    console.print(f"peak {report['peak_mb']:,.0f} MiB, {within} the limit of {MEMORY_LIMIT_MB:,} MiB")
    console.print(f"seconds a step: {report['step_s']}; {SELECTION_METRIC} before and after: {report['validation']}")


if __name__ == "__main__":
    typer.run(main)
