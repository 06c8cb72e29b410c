"""How much of the machine's matrix-product rate training reaches, and where its time goes.

`python -m benchmarks.machine_share DATA -o outputs/bench/machine_share.json`, where DATA holds `sequences/` and
`text_embeddings/` (or `embeddings/`). An epoch of stage 1 and of stage 4 is run twice from the same start: once timed,
once with its floating-point operations counted.
"""

from __future__ import annotations

import cProfile
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.peers import describe_machine
from benchmarks.profiles import FunctionCost, list_costs, list_operations, tabulate_costs
from ur4rec.commands.console import report_errors
from ur4rec.config import SHIPPED, load_config
from ur4rec.data.sequences import Histories, Sequences, load_sequences
from ur4rec.models.config import CooccurrenceConfig, ModelConfig
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.ranking.ranks import rank_users
from ur4rec.storage.artifacts import ArtifactError, write_text_atomic
from ur4rec.terminal import PlainConsole
from ur4rec.text.embeddings import TextEmbeddings, load_embeddings
from ur4rec.training.config import StageConfig, TrainingConfig
from ur4rec.training.cooccurrence import count_pairs, fit_table
from ur4rec.training.scoring import ModelScorer
from ur4rec.training.stages import PLANS
from ur4rec.training.start import add_text
from ur4rec.training.trainer import SCORES_AT_ONCE, Trainer, deterministic
from ur4rec.training.windows import sample_epoch

MATRIX = 2048
"""Rows and columns of the product that stands for the machine."""
WIDE: dict[str, Any] = {"sasrec_hidden_dim": 256, "retriever_output_dim": 256, "memory_dim": 256}
SETTINGS: dict[str, dict[str, Any]] = {"shipped": {}, "width 256": WIDE}
STAGES = ("pretrain_sasrec", "end_to_end")


@dataclass(frozen=True)
class Cost:
    """Of a computation, timed by the clock and by the processor time of all threads."""

    flops: int
    seconds: float
    cpu_s: float

    @property
    def gflops_per_s(self) -> float:
        """By the clock."""
        return self.flops / self.seconds / 1e9

    @property
    def gflops_per_cpu_s(self) -> float:
        """By processor time: steadier where other programs run."""
        return self.flops / self.cpu_s / 1e9


@dataclass(frozen=True)
class Share:
    """What an epoch reached beside the machine's ceiling, measured just before and after it."""

    setting: str
    stage: str
    steps: int
    positions: int
    """Targets of the epoch."""
    epoch: Cost
    ceiling: Cost

    @property
    def positions_per_s(self) -> float:
        """Trained positions a second, by the clock."""
        return self.positions / self.epoch.seconds

    def describe(self) -> dict[str, Any]:
        """Returns what was measured, and the ratios."""
        ratios = {"positions_per_s": self.positions_per_s, "share": self.by_clock, "share_by_cpu_time": self.by_cpu}
        return asdict(self) | ratios

    @property
    def by_clock(self) -> float:
        """Of the ceiling's rate."""
        return self.epoch.gflops_per_s / self.ceiling.gflops_per_s

    @property
    def by_cpu(self) -> float:
        """The same by processor time."""
        return self.epoch.gflops_per_cpu_s / self.ceiling.gflops_per_cpu_s


def count_flops(run: Callable[[], object]) -> int:
    """Floating-point operations of all matrix products, backward passes and custom autograd functions included."""
    return _counted(lambda _: run())


def _counted(run: Callable[[FlopCounterMode], object]) -> int:
    # Of torch's own, the counter knows `addmm` but not the in-place form, which the losses use.
    mode = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: _addmm_flops})
    with mode:
        run(mode)
    return int(mode.get_total_flops())


def _addmm_flops(total: Any, left: Any, right: Any, *_: Any, **__: Any) -> int:
    rows, inner = left
    return int(2 * rows * inner * right[1])


def measure_ceiling(size: int = MATRIX, repeats: int = 5) -> Cost:
    """A large product of two square matrices; the best of several."""
    left, right = torch.randn(2, size, size)
    out = torch.empty(size, size)
    costs = [_time(2 * size**3, lambda: torch.mm(left, right, out=out)) for _ in range(repeats + 1)]
    return min(costs[1:], key=lambda cost: cost.seconds)


def _time(flops: int, run: Callable[[], object]) -> Cost:
    began, cpu_began = time.perf_counter(), time.process_time()
    run()
    return Cost(flops, time.perf_counter() - began, time.process_time() - cpu_began)


@dataclass(frozen=True)
class Workload:
    """What is trained and ranked."""

    data: Sequences
    text: TextEmbeddings

    def histories(self) -> Histories:
        """Training prefixes."""
        return self.data.histories("validation")

    def build(self, config: StageConfig) -> UR4RecV2MoE:
        """The whole model with its tables and texts, before training; what a step costs does not depend on weights."""
        model = UR4RecV2MoE(self.data.num_items, self.data.num_users, config.narrow(ModelConfig))
        if model.cooccurrence is not None:
            shape = config.narrow(CooccurrenceConfig)
            model.cooccurrence.fill(fit_table(count_pairs(self.histories(), model.num_items, shape), shape))
        add_text(model, self.text)
        return model

    def train(self, config: StageConfig, stage: str) -> Trainer:
        """A trainer of one epoch that validates a single user."""
        targets = self.data.val[:1]
        return Trainer(self.build(config), self.histories(), targets, PLANS[stage], config.narrow(TrainingConfig))


def open_workload(folder: Path) -> Workload:
    """Reads the two artifact folders.

    Raises:
        ArtifactError: One is missing or altered.
    """
    for name in ("text_embeddings", "embeddings"):
        if (folder / name).is_dir():
            data = load_sequences(folder / "sequences")
            return Workload(data, load_embeddings(folder / name, data))
    raise ArtifactError(f"{folder / 'text_embeddings'}: not found; `ur4rec text encode` writes it")


def measure_epoch(workload: Workload, config: StageConfig, stage: str) -> tuple[Cost, int]:
    """An epoch, the replay of the memories before and after it included; and its steps."""
    trainer = workload.train(config, stage)
    clocks: list[tuple[float, float]] = []
    trainer.run(lambda *_: clocks.append((time.perf_counter(), time.process_time())))
    seconds, cpu_s = (after - before for before, after in zip(*clocks, strict=True))
    counted = workload.train(config, stage)
    totals: list[int] = []
    _counted(lambda mode: counted.run(lambda *_: totals.append(int(mode.get_total_flops()))))
    return Cost(totals[1] - totals[0], seconds, cpu_s), trainer.step


def measure_share(workload: Workload, config: StageConfig, setting: str, stage: str) -> Share:
    """An epoch beside the ceiling."""
    before = measure_ceiling()
    epoch, steps = measure_epoch(workload, config, stage)
    after = measure_ceiling()
    positions = count_positions(workload.histories(), config)
    return Share(setting, stage, steps, positions, epoch, min(before, after, key=lambda cost: cost.seconds))


def count_positions(histories: Histories, config: StageConfig) -> int:
    """Targets of an epoch; every epoch has as many."""
    device, generator = torch.device("cpu"), np.random.default_rng(0)
    length, per_user = config.max_seq_len, config.windows_per_user
    return int(sample_epoch(histories, length, generator, 0, False, device, per_user).lengths.sum())


def profile_epoch(workload: Workload, config: StageConfig) -> dict[str, list[FunctionCost]]:
    """Functions and tensor operations of an epoch of stage 4."""
    trainer = workload.train(config, STAGES[-1])
    functions = _profile(lambda: trainer.run(lambda *_: None))
    again = workload.train(config, STAGES[-1])
    return {
        "stage 4, functions": functions,
        "stage 4, tensor operations": list_operations(lambda: again.run(lambda *_: None)),
    }


def profile_evaluation(workload: Workload, config: StageConfig) -> tuple[Cost, dict[str, list[FunctionCost]]]:
    """All test users ranked in the whole catalogue, the replay of their memories included."""
    model, histories = workload.build(config), workload.data.histories("test")

    def evaluate() -> None:
        batch_size = max(1, SCORES_AT_ONCE // model.num_items)
        rank_users(ModelScorer(model, histories), workload.data.test, histories, batch_size)

    flops = count_flops(evaluate)
    cost = min((_time(flops, evaluate) for _ in range(3)), key=lambda cost: cost.seconds)
    return cost, {
        "evaluation, functions": _profile(evaluate),
        "evaluation, tensor operations": list_operations(evaluate),
    }


def _profile(run: Callable[[], object]) -> list[FunctionCost]:
    profile = cProfile.Profile()
    profile.runcall(run)
    return list_costs(profile)


def tabulate_shares(shares: list[Share]) -> Table:
    """One row a setting and stage."""
    names = "setting", "stage", "steps", "GFLOP", "seconds", "positions/s", "GFLOP/s", "ceiling", "share", "of CPU time"
    table = Table(*names, title="training beside the machine's matrix product", title_justify="left")
    for one in shares:
        cells = [f"{one.epoch.flops / 1e9:,.1f}", f"{one.epoch.seconds:,.1f}", f"{one.positions_per_s:,.0f}"]
        cells += [f"{cost.gflops_per_s:,.1f}" for cost in (one.epoch, one.ceiling)]
        table.add_row(one.setting, one.stage, str(one.steps), *cells, f"{one.by_clock:.0%}", f"{one.by_cpu:.0%}")
    return table


def main(
    data: Annotated[Path, typer.Argument(help="Folder with sequences/ and text_embeddings/.", exists=True)],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON file to write.")],
    threads: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Measure the share of the machine that training gets, and profile stage 4 and the evaluation."""
    torch.set_num_threads(threads)
    machine, shares = describe_machine(threads), []
    with report_errors():
        workload = open_workload(data)
        base = load_config(SHIPPED, {"epochs_per_stage": 1}).narrow(StageConfig)
        with deterministic(base.seed):
            for setting, fields in SETTINGS.items():
                config = base.model_copy(update=fields)
                shares += [measure_share(workload, config, setting, stage) for stage in STAGES]
            evaluation, profiles = profile_evaluation(workload, base)
            profiles = profile_epoch(workload, base) | profiles
    report = {
        "machine": machine | {"load_at_end": round(os.getloadavg()[0], 2)},
        "dataset": {"name": workload.data.name, "digest": workload.data.digest},
        "shares": [one.describe() for one in shares],
        "evaluation": asdict(evaluation),
        "profiles": {name: [asdict(cost) for cost in costs] for name, costs in profiles.items()},
    }
    console = PlainConsole(width=120)
    console.print(tabulate_shares(shares), *(tabulate_costs(name, costs) for name, costs in profiles.items()))
    console.print(f"evaluation: {evaluation.seconds:.2f} s, {evaluation.cpu_s:.2f} CPU s")
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomic(output, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
