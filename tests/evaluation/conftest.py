"""A small data set, a checkpoint folder without weights, and systems that are closed formulas."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_sequences_by_hand import make_data
from toy_systems import NUM_ITEMS, ToySystems

from ur4rec.config_section import ConfigSection
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import Sequences
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.evaluation.evaluate import measure
from ur4rec.evaluation.history import TrainingHistory
from ur4rec.evaluation.results import Results
from ur4rec.storage.artifacts import write_artifact

NUM_USERS = 24
STAGES = ("pretrain_sasrec", "end_to_end")


class ToyTrainingConfig(ConfigSection):
    seed: int = 5
    batch_size: int = 16


def write_csv(path: Path) -> Path:
    rng = np.random.default_rng(3)
    rows = ["user_id,item_id,timestamp"]
    for user in range(1, NUM_USERS + 1):
        start, length = int(rng.integers(NUM_ITEMS)), 4 + user % 9
        times = np.sort(rng.integers(1_000, 9_000, length))
        rows += [f"{user},{(start + step) % NUM_ITEMS + 1},{times[step]}" for step in range(length)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def write_history(folder: Path) -> None:
    stages = [
        {
            "stage": name,
            "seconds": 2.0,
            "epochs": 3,
            "best_epoch": 2,
            "validation": {"ndcg@10": 0.2, "hit@10": 0.3, "mrr": 0.1},
            "series": [{"epoch": epoch, "step": 9 * epoch, "loss": 3.0 / epoch, "ndcg@10": 0.1} for epoch in (1, 2, 3)],
        }
        for name in STAGES
    ]
    (folder / "history.json").write_text(json.dumps({"stages": stages}), encoding="utf-8")


@pytest.fixture(scope="session")
def make_sequences(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def make(**config: Any) -> Path:
        folder = tmp_path_factory.mktemp("evaluation")
        preprocess_sequences(write_csv(folder / "plays.csv"), folder / "sequences", DataConfig(**config))
        return folder / "sequences"

    return make


@pytest.fixture(scope="session")
def sequences(make_sequences: Callable[..., Path]) -> Path:
    return make_sequences(dataset_name="toy")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation") / "checkpoint"
    with write_artifact(folder, "end_to_end", ToyTrainingConfig()) as writer:
        write_history(writer.folder)
    return folder


@pytest.fixture
def systems() -> ToySystems:
    return ToySystems()


@pytest.fixture
def including() -> ToySystems:
    """The same systems of a model that was trained with repeats."""
    return ToySystems(excludes_seen=False)


@pytest.fixture(scope="session")
def measured(sequences: Path, checkpoint: Path) -> tuple[Results, TrainingHistory]:
    """Results and history; session-wide, so not to be altered."""
    return measure(sequences, checkpoint, ToySystems(), EvaluationConfig(bootstrap_samples=100))


@pytest.fixture
def data() -> Sequences:
    return make_data(
        train=[(1, 1, 10), (1, 2, 20), (2, 2, 10), (2, 3, 40), (2, 1, 50)],
        val=[(1, 3, 30), (2, 4, 60)],
        test=[(1, 4, 35), (2, 5, 70)],
    )
