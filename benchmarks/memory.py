"""What a memory is worth where a window does not show a user's taste: with and without, for each trigger.

    python -m benchmarks.memory -o outputs/bench/memory

Trains the retriever over items and memory (`UR4RecMoEMemory`: no SASRec, no text of users) on generated users whose
lasting tastes stand before the window (`benchmarks/drifting_tastes.py`), beside a SASRec whose window holds the whole
history and one whose window does not, and a control whose tastes never drift. Trained models are kept, so a run that
was stopped goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from jaxtyping import Float64
from rich.table import Table

from benchmarks.drifting_tastes import Settings, generate
from benchmarks.generated_data import prepare
from ur4rec.commands.console import report_errors
from ur4rec.config import load_config
from ur4rec.data.sequences import load_sequences
from ur4rec.experiments.stage_cache import obtain_stages, read_inputs
from ur4rec.ranking.bootstrap import bootstrap_means, estimate
from ur4rec.ranking.metrics import per_user_metrics
from ur4rec.ranking.ranks import rank_users
from ur4rec.storage.artifacts import write_text_atomic
from ur4rec.terminal import PlainConsole
from ur4rec.training.checkpoints import load_model
from ur4rec.training.config import StageConfig
from ur4rec.training.scoring import ModelScorer

METRIC = "ndcg@10"
SAMPLES = 10_000
NO_USER_TEXTS = 1_000_000
"""Interactions behind a first text: no user has so many."""
TRAINING = {
    "batch_size": 64,
    "epochs_per_stage": 8,
    "patience": 4,
    "random_window_share": 1.0,
    "sasrec_dropout": 0.05,
    "moe_dropout": 0.05,
    "id_dropout": 0.0,
    "decay_factor": 0.7,
}
"""As short histories ask: a window anywhere, since most of a history lies before the newest one; little dropout, since
a genre is an exact rule here; and a memory that leaves an old taste behind within a few updates."""
RETRIEVER = {"system": "UR4RecMoEMemory"}


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    name: str
    part: Literal["sasrec", "retriever"]
    settings: dict[str, Any]
    whole_history: bool = False
    """Whether the window is longer than any history."""


ROWS = (
    Row("no memory", "retriever", RETRIEVER | {"max_memory_size": 0}),
    Row("memory, interaction_count", "retriever", RETRIEVER | {"update_trigger": "interaction_count"}),
    Row("memory, drift_threshold", "retriever", RETRIEVER | {"update_trigger": "drift_threshold"}),
    Row("memory, time_based", "retriever", RETRIEVER | {"update_trigger": "time_based"}),
    Row("SASRec, the same window", "sasrec", {}),
    Row("SASRec, the whole history", "sasrec", {}, whole_history=True),
)


@dataclass(frozen=True)
class Measured:
    """A row on one data set, over all seeds."""

    row: str
    drifts: bool
    value: float
    ci95: tuple[float, float]
    validation: float


def measure(row: Row, data: Path, window: int, seeds: list[int], cache: Path) -> tuple[Float64[np.ndarray, "U"], float]:
    """Trains a row with every seed.

    Returns:
        Metric of every user at the test, averaged over seeds, and the mean at validation.
    """
    sequences = load_sequences(data / "sequences")
    history = sequences.histories("test")
    length = int(history.lengths.max()) if row.whole_history else window
    tests, validations = [], []
    for seed in seeds:
        config = load_config(None, TRAINING | row.settings | {"max_seq_len": length, "seed": seed})
        inputs = read_inputs(data / "sequences", data / "embeddings", "cpu")
        trained = obtain_stages(cache, inputs, config.narrow(StageConfig), f"pretrain_{row.part}")[-1]
        scorer = ModelScorer(load_model(trained.checkpoint), history, row.part)
        tests.append(per_user_metrics(rank_users(scorer, sequences.test, history, 256))[METRIC])
        validations.append(trained.validation()[METRIC])
    return np.mean(tests, axis=0), float(np.mean(validations))


def measure_all(folder: Path, settings: Settings, seeds: list[int]) -> Iterator[Measured]:
    """Every row with drift, then every row without."""
    for drifts in (True, False):
        data = folder / ("drift" if drifts else "control")
        prepare(data, partial(generate, replace(settings, drifts=drifts)), {"snapshot_base": NO_USER_TEXTS})
        for row in ROWS:
            users, validation = measure(row, data, settings.longest_window, seeds, folder / "stages")
            found = estimate(float(users.mean()), bootstrap_means(users[:, None], SAMPLES)[:, 0])
            yield Measured(row.name, drifts, found.value, found.ci95, validation)


def show(console: PlainConsole, measured: list[Measured]) -> None:
    """Prints the table; the ratio is to the first row of the same data."""
    table = Table(title=f"Test {METRIC} of the hidden taste", title_justify="left")
    for column in ("data", "model", METRIC, "95 %", "ratio", "validation"):
        table.add_column(column, justify="left" if column in ("data", "model") else "right")
    for each in measured:
        base = next(other.value for other in measured if other.drifts == each.drifts)
        low, high = each.ci95
        table.add_row(
            "drift" if each.drifts else "no drift",
            each.row,
            f"{each.value:.4f}",
            f"{low:.4f}-{high:.4f}",
            f"{each.value / base:.1f}",
            f"{each.validation:.4f}",
        )
    console.print(table)


def main(
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("outputs/bench/memory"),
    seeds: Annotated[int, typer.Option(min=1, help="How many, from 1 on.")] = 1,
    users: Annotated[int, typer.Option(min=20)] = Settings().num_users,
) -> None:
    """Measures every row and writes `memory.json`."""
    with report_errors():
        settings = Settings(num_users=users)
        measured: list[Measured] = []
        for each in measure_all(output, settings, list(range(1, seeds + 1))):
            measured.append(each)
            print(f"{each.row}, {'drift' if each.drifts else 'no drift'}: {each.value:.4f}", flush=True)
        content = {"settings": asdict(settings), "training": TRAINING, "seeds": seeds}
        rows = {"rows": [asdict(each) for each in measured]}
        write_text_atomic(output / "memory.json", json.dumps(content | rows, indent=2) + "\n")
        show(PlainConsole(), measured)


if __name__ == "__main__":
    typer.run(main)
