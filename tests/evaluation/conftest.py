"""A small data set, a checkpoint folder without weights, and systems that are closed formulas."""

import json

import numpy as np
import pytest
import torch
from evaluation.toy_sequences_by_hand import make_data

from ur4rec.config_section import ConfigSection
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.evaluation.evaluate import measure
from ur4rec.storage.artifacts import write_artifact

NUM_USERS, NUM_ITEMS = 24, 30
STAGES = ("pretrain_sasrec", "end_to_end")


class ToyTrainingConfig(ConfigSection):
    seed: int = 5
    batch_size: int = 16


class ToySystems:
    """Scores by the distance from the last item of the history; remembers what it was given."""

    def __init__(self, excludes_seen=True):
        self.histories, self.excludes_seen = [], excludes_seen

    def __call__(self, histories):
        self.histories.append(histories)

        def near(users):
            last = torch.from_numpy(histories.items[histories.offsets[users + 1] - 1])
            return -(torch.arange(NUM_ITEMS + 1) - last[:, None]).abs().float()

        return {"UR4RecV2MoE": near, "sasrec": lambda users: -near(users)}

    def expert_weights(self, users=None):
        share = 0.25 if users is None else float(np.mean(users)) / 1000
        return {"user_preference": share, "item_description": 1 - share}

    def memory_stats(self):
        return {"total_users": float(self.histories[-1].num_users)}


def write_csv(path):
    rng = np.random.default_rng(3)
    rows = ["user_id,item_id,timestamp"]
    for user in range(1, NUM_USERS + 1):
        start, length = int(rng.integers(NUM_ITEMS)), 4 + user % 9
        times = np.sort(rng.integers(1_000, 9_000, length))
        rows += [f"{user},{(start + step) % NUM_ITEMS + 1},{times[step]}" for step in range(length)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def write_history(folder):
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
def make_sequences(tmp_path_factory):
    def make(**config):
        folder = tmp_path_factory.mktemp("evaluation")
        preprocess_sequences(write_csv(folder / "plays.csv"), folder / "sequences", DataConfig(**config))
        return folder / "sequences"

    return make


@pytest.fixture(scope="session")
def sequences(make_sequences):
    return make_sequences(dataset_name="toy")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation") / "checkpoint"
    with write_artifact(folder, "end_to_end", ToyTrainingConfig()) as writer:
        write_history(writer.folder)
    return folder


@pytest.fixture
def systems():
    return ToySystems()


@pytest.fixture
def including():
    """The same systems of a model that was trained with repeats."""
    return ToySystems(excludes_seen=False)


@pytest.fixture(scope="session")
def measured(sequences, checkpoint):
    """Results and history; session-wide, so not to be altered."""
    return measure(sequences, checkpoint, ToySystems(), EvaluationConfig(bootstrap_samples=100))


@pytest.fixture
def data():
    return make_data(
        train=[(1, 1, 10), (1, 2, 20), (2, 2, 10), (2, 3, 40), (2, 1, 50)],
        val=[(1, 3, 30), (2, 4, 60)],
        test=[(1, 4, 35), (2, 5, 70)],
    )
