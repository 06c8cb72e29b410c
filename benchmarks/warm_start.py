"""Stage 1 from scratch against stage 1 from a champion: `python -m benchmarks.warm_start DATA`.

The champion is trained on the data as they were: every user's last interactions dropped. Both trainings then get the
data of today. Two controls: the champion untrained is how well it does on them without another step; the model from
scratch, trained a second time on the same data, has been trained for as long as what started from the champion.

S seeds, T targets.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from jaxtyping import Float64
from rich.table import Table

from ur4rec.commands.console import report_errors
from ur4rec.config import SHIPPED, load_config
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import load_sequences
from ur4rec.models.config import ModelConfig
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.ranking.bootstrap import paired_difference
from ur4rec.ranking.metrics import per_user_metrics
from ur4rec.ranking.ranks import rank_users
from ur4rec.recommender.bundle import write_bundle
from ur4rec.registry.warm_start import open_warm_start
from ur4rec.storage.artifacts import write_text_atomic
from ur4rec.terminal import PlainConsole
from ur4rec.training.checkpoints import HISTORY, load_model
from ur4rec.training.config import StageConfig
from ur4rec.training.scoring import ModelScorer
from ur4rec.training.stage_names import Stage
from ur4rec.training.stages import run_stage
from ur4rec.training.start import begin
from ur4rec.training.warm_start import WarmStart

FOLDER = Path("outputs/bench/warm_start")
STAGE = Stage.PRETRAIN_SASREC.value
SCRATCH, TWICE, WARM, UNTRAINED = "from scratch", "from scratch, twice", "from the champion", "champion, untrained"
SYSTEMS = (SCRATCH, TWICE, WARM, UNTRAINED)
SAMPLES = 10_000


@dataclass(frozen=True)
class Run:
    """What one training came to."""

    system: str
    seed: int
    epochs: int
    best_epoch: int
    cpu_s: float
    curve: list[float]
    """Validation NDCG@10 after each epoch, from epoch 0."""
    test: list[float]
    """NDCG@10 of each test target."""

    def epochs_to(self, score: float) -> int | None:
        """First epoch with at least this validation score."""
        return next((epoch for epoch, value in enumerate(self.curve) if value >= score), None)


def prepare(data: Path, output: Path, drop_last: int) -> tuple[Path, Path]:
    """Sequences as they were and as they are."""
    folders = output / "older", output / "newer"
    for folder, dropped in zip(folders, (drop_last, 0), strict=True):
        if not folder.exists():
            preprocess_sequences(data, folder, load_config(SHIPPED, {"drop_last": dropped}).narrow(DataConfig))
    return folders


def train(sequences: Path, folder: Path, config: StageConfig, start: WarmStart | None = None) -> float:
    """Trains stage 1; returns the processor seconds of all threads."""
    before = time.process_time()
    run_stage(STAGE, sequences, folder / "checkpoint", folder / "memories", config, device="cpu", warm_start=start)
    return time.process_time() - before


def rank_tests(model: UR4RecV2MoE, sequences: Path) -> list[float]:
    """NDCG@10 of each test target by SASRec alone."""
    data = load_sequences(sequences)
    seen = data.histories("test")
    ranks = rank_users(ModelScorer(model, seen, "sasrec"), data.test, seen, 512)
    return [float(value) for value in per_user_metrics(ranks)["ndcg@10"]]


def open_champion(sequences: Path, folder: Path) -> WarmStart:
    """What `train` left in a folder, to start from."""
    write_bundle(sequences, folder / "checkpoint", folder / "bundle")
    start = open_warm_start(str(folder / "bundle"))
    assert start is not None
    return start


def compare(older: Path, newer: Path, output: Path, seed: int) -> list[Run]:
    """All trainings with one seed; the champion and the second training have another."""
    base = load_config(SHIPPED, {"seed": seed}).narrow(StageConfig)
    other = base.model_copy(update={"seed": seed + 1000})
    champion, scratch = output / f"champion_{seed}", output / f"from_scratch_{seed}"
    train(older, champion, other)
    start = None
    runs = []
    for system, config, given in (
        (SCRATCH, base, None),
        (TWICE, other, (newer, scratch)),
        (WARM, base, (older, champion)),
    ):
        folder = output / f"{system.replace(',', '').replace(' ', '_')}_{seed}"
        start = open_champion(*given) if given else None
        cpu_s = train(newer, folder, config, start)
        record = json.loads((folder / "checkpoint" / HISTORY).read_text())["stages"][-1]
        curve = [entry["ndcg@10"] for entry in record["series"]]
        test = rank_tests(load_model(folder / "checkpoint"), newer)
        runs.append(Run(system, seed, record["epochs"], record["best_epoch"], cpu_s, curve, test))
    torch.manual_seed(seed)
    untrained = begin(STAGE, load_sequences(newer), base.narrow(ModelConfig), seed, None, warm_start=start)
    return [*runs, Run(UNTRAINED, seed, 0, 0, 0.0, runs[-1].curve[:1], rank_tests(untrained, newer))]


def show(runs: list[Run]) -> Table:
    """Means over the seeds."""
    seeds = sorted({run.seed for run in runs})
    by_key = {(run.system, run.seed): run for run in runs}
    goals = {seed: max(by_key[SCRATCH, seed].curve) for seed in seeds}
    table = Table(title=f"stage 1, seeds {', '.join(map(str, seeds))}; means")
    for head in ("", "validation", "test", "test minus from scratch", "epochs", "CPU s", "epochs to scratch's best"):
        table.add_column(head)
    tests = {system: _mean([by_key[system, seed].test for seed in seeds]) for system in SYSTEMS}
    for system, test in tests.items():
        of = [by_key[system, seed] for seed in seeds]
        gain = paired_difference(test, tests[SCRATCH], SAMPLES)
        table.add_row(
            system,
            f"{np.mean([max(run.curve) for run in of]):.4f}",
            f"{test.mean():.4f}",
            f"{gain.value:+.4f} [{gain.ci95[0]:+.4f}, {gain.ci95[1]:+.4f}]",
            f"{np.mean([run.epochs for run in of]):.0f}",
            f"{np.mean([run.cpu_s for run in of]):.0f}",
            ", ".join(_name(run.epochs_to(goals[run.seed])) for run in of),
        )
    return table


def _name(epoch: int | None) -> str:
    return "–" if epoch is None else str(epoch)


def _mean(values: list[list[float]]) -> Float64[np.ndarray, "T"]:
    mean: np.ndarray = np.mean(values, axis=0)
    return mean


def main(
    data: Annotated[Path, typer.Argument(help="Interactions, as `ur4rec data fetch` names them.", exists=True)],
    output: Annotated[Path, typer.Option("--output", "-o")] = FOLDER,
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    drop_last: Annotated[int, typer.Option(help="Interactions of each user that the champion has not seen.")] = 5,
) -> None:
    """Train what is missing and print the table; a run that was stopped goes on."""
    with report_errors():
        older, newer = prepare(data, output, drop_last)
        runs: list[Run] = []
        for seed in range(1, seeds + 1):
            file = output / f"runs_{seed}.json"
            if not file.is_file():
                found = [asdict(run) for run in compare(older, newer, output, seed)]
                write_text_atomic(file, json.dumps(found) + "\n")
            runs += [Run(**run) for run in json.loads(file.read_text())]
        PlainConsole(width=140).print(show(runs))


if __name__ == "__main__":
    typer.run(main)
