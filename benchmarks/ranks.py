"""Windows a second that several ranks train, beside one: stages 1 and 2, each rank with its own threads.

    python -m benchmarks.ranks outputs/sequences -o outputs/bench/ranks

The clock runs from the first validation to the last, so it counts replays, steps and validations, but not the start of
processes. The numbers of ranks alternate, round by round, and the median counts. Texts are random vectors: how fast
they are read does not depend on what they say.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.table import Table

from benchmarks.peers import describe_machine
from ur4rec.auto.settle import settle
from ur4rec.commands.console import ConfigOption, SetOption, read_config, report_errors
from ur4rec.config_section import ConfigSection
from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.storage.artifacts import write_artifact, write_text_atomic
from ur4rec.terminal import PlainConsole
from ur4rec.text.embeddings import write_embeddings
from ur4rec.training.config import StageConfig
from ur4rec.training.stages import run_stage
from ur4rec.training.windows import count_windows

WIDTH, DISTINCT, EVERY = 384, 1_000, 10
"""Of the texts: their width, how many differ, and after how many interactions a user has another."""
STAGES = ("pretrain_sasrec", "pretrain_retriever")


@dataclass(frozen=True)
class Speed:
    """Of one stage with so many ranks."""

    stage: str
    ranks: int
    windows_per_s: float
    """Median of the rounds."""
    rounds: list[float]
    best_ndcg_10: float


def measure(
    sequences: Path, output: Path, config: StageConfig, ranks: Sequence[int], threads: int, rounds: int
) -> list[Speed]:
    """Trains both stages with every number of ranks, `rounds` times.

    Args:
        sequences: Folder of `ur4rec data preprocess`.
        output: Folder to write to.
        config: Settings of both stages.
        ranks: Numbers of ranks.
        threads: Of each rank.
        rounds: How often.
    """
    data = load_sequences(sequences)
    embeddings = _write_random_texts(sequences, data, output / "embeddings")
    found: dict[tuple[str, int], list[float]] = {}
    best: dict[tuple[str, int], float] = {}
    for _ in range(rounds):
        for size in ranks:
            torch.set_num_threads(threads * size)
            previous: dict[str, Path] = {}
            for stage in STAGES:
                text = {} if stage == STAGES[0] else {"embeddings": embeddings}
                folders = [output / str(size) / stage / kind for kind in ("checkpoint", "memories")]
                clock = _Clock()
                record = run_stage(
                    stage, sequences, *folders, config, device="cpu", observe=clock, processes=size, **text, **previous
                )
                previous = dict(zip(("previous_checkpoint", "previous_memories"), folders, strict=True))
                histories = data.histories("validation")
                windows = record.epochs * count_windows(histories, config.max_seq_len, config.windows_per_user)
                found.setdefault((stage, size), []).append(windows / clock.seconds())
                best[stage, size] = record.validation["ndcg@10"]
    return [Speed(*key, median(speeds), speeds, best[key]) for key, speeds in found.items()]


class _Clock:
    def __init__(self) -> None:
        self._ticks: list[float] = []

    def __call__(self, settings: Mapping[str, Any], series: Sequence[Mapping[str, float]]) -> None:
        self._ticks.append(time.perf_counter())

    def seconds(self) -> float:
        return self._ticks[-1] - self._ticks[0]


def _write_random_texts(sequences: Path, data: Sequences, folder: Path) -> Path:
    rng = np.random.default_rng(0)
    lengths = data.histories("validation").lengths
    snapshots = np.array([(user, end) for user in range(1, len(lengths)) for end in range(EVERY, lengths[user], EVERY)])
    vectors = rng.standard_normal((DISTINCT, WIDTH)).astype(np.float32)
    items, sentences = (rng.integers(0, DISTINCT, size) for size in (data.num_items, len(snapshots)))
    with write_artifact(folder, "encode_text", ConfigSection(), {"sequences": sequences}) as writer:
        write_embeddings(writer.folder, vectors, items, sentences, np.arange(len(snapshots) + 1), snapshots)
    return folder


def main(
    sequences: Annotated[Path, typer.Argument(help="Folder of `ur4rec data preprocess`.")],
    ranks: Annotated[list[int] | None, typer.Option(help="Number of ranks; may be repeated.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of each rank.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 3,
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("outputs/bench/ranks"),
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Train with every number of ranks, and write the table as JSON."""
    data = load_sequences(sequences)
    chosen = settle(read_config(config, settings).narrow(StageConfig), data, "ranks", {})
    stage_config = StageConfig.model_validate(dict(chosen))
    machine = describe_machine(threads)
    speeds = measure(sequences, output, stage_config, ranks or [1, 2], threads, rounds)
    table = Table(title="ranks")
    for name in ("stage", "ranks", "windows a second", "to the first", "validation ndcg@10"):
        table.add_column(name)
    first = {speed.stage: speed.windows_per_s for speed in reversed(speeds)}
    for speed in sorted(speeds, key=lambda speed: speed.stage):
        ratio = speed.windows_per_s / first[speed.stage]
        table.add_row(
            speed.stage, str(speed.ranks), f"{speed.windows_per_s:,.1f}", f"{ratio:.2f}", f"{speed.best_ndcg_10:.4f}"
        )
    result = {
        "machine": machine,
        "dataset": data.digest,
        "config": chosen.to_dict(),
        "speeds": list(map(asdict, speeds)),
    }
    write_text_atomic(output / "ranks.json", json.dumps(result, indent=1) + "\n")
    PlainConsole().print(table)


if __name__ == "__main__":
    with report_errors():
        typer.run(main)
