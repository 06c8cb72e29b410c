"""Trains RecBole's SASRec, in the peers' environment: `python -m benchmarks.peer_recbole SPLIT RUN SETTING`.

What is changed in RecBole at run time, and why:

* Autograd's anomaly detection is turned off again. Importing RecBole's sequential models turns it on for the whole
  process, which makes every backward pass slower and changes no result.
* `_valid_epoch` ranks with our protocol. RecBole's own evaluator leaves items that a user has seen among the candidates
  of a sequential model; its early stopping then follows our score too.
* The best weights stay in memory. RecBole reads its checkpoint with `torch.load`, which since torch 2.6 refuses the
  configuration object that RecBole pickles into it.
* A checkpoint of ours after every epoch, for the same reason; a training that was cut short goes on from it.
* Nothing for numpy: RecBole itself restores `np.float` and its like, from names that numpy 2 no longer has; the
  environment holds numpy 1.26.

RecBole reads files only, so the split is written as one; what it then holds out is checked against the split.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.dataloader import TrainDataLoader
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer
from recbole.utils import init_seed

from benchmarks.peer_exchange import METRIC, Recorder, Split, pad_histories
from ur4rec.data.sequences import Histories

NAME, CHECKPOINT = "split", Path("checkpoint.pt")
PACKAGES = ("recbole", "torch", "numpy", "scipy", "pandas")


class Scorer:
    """Scores of the whole catalogue, in our item numbers."""

    def __init__(self, model: SASRec, tokens: np.ndarray, histories: Histories, num_items: int) -> None:
        names = np.zeros(num_items + 1, dtype=np.int64)
        names[tokens] = np.arange(1, len(tokens) + 1)
        self.model, self.columns, self.width = model.eval(), torch.from_numpy(tokens), num_items + 1
        self.histories = histories.rename_items(names)

    def __call__(self, users: np.ndarray) -> torch.Tensor:
        """`[B, N + 1]`; column 0 is padding."""
        items, lengths = pad_histories(self.histories, users, self.model.max_seq_length, left=False)
        window = {self.model.ITEM_SEQ: torch.from_numpy(items), self.model.ITEM_SEQ_LEN: torch.from_numpy(lengths)}
        scores = torch.full((len(users), self.width), -torch.inf)
        scores[:, self.columns] = self.model.full_sort_predict(Interaction(window))[:, 1:]
        return scores


class TimeIsOverError(Exception):
    """Ends RecBole's loop after an epoch."""


class OurTrainer(Trainer):
    """RecBole's training loop with our validation."""

    def __init__(self, config: Config, model: SASRec, recorder: Recorder, tokens: np.ndarray) -> None:
        super().__init__(config, model)
        self.recorder, self.tokens = recorder, tokens
        self.best_state: dict[str, torch.Tensor] = {}

    def scorer(self, histories: Histories) -> Scorer:
        """Of the present weights."""
        return Scorer(self.model, self.tokens, histories, self.recorder.split.num_items)

    def _valid_epoch(self, valid_data: object, show_progress: bool = False) -> tuple[float, dict[str, float]]:
        score, improved = self.recorder.validate(self.scorer(self.recorder.split.seen["validation"]))
        if improved:
            self.best_state = {name: value.clone() for name, value in self.model.state_dict().items()}
        return score, {METRIC: score}

    def save(self, train: TrainDataLoader, epoch: int) -> None:
        """Keeps all that the next epoch depends on."""
        state = {
            "epoch": epoch,
            "model": self.model.state_dict(),
            "best": self.best_state,
            "optimizer": self.optimizer.state_dict(),
            "stopping": [self.best_valid_score, self.cur_step],
            "random": [torch.get_rng_state(), train.generator.get_state()],
            "recorder": self.recorder.state(),
        }
        torch.save(state, CHECKPOINT.with_suffix(".new"))
        CHECKPOINT.with_suffix(".new").replace(CHECKPOINT)

    def restore(self, train: TrainDataLoader) -> None:
        """Goes on after the last epoch kept; call it when training begins."""
        state = torch.load(CHECKPOINT, weights_only=True)
        self.start_epoch = state["epoch"] + 1
        self.model.load_state_dict(state["model"])
        self.best_state = state["best"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.best_valid_score, self.cur_step = state["stopping"]
        if self.cur_step > self.stopping_step:  # it had ended
            self.epochs = self.start_epoch
        torch.set_rng_state(state["random"][0])
        train.generator.set_state(state["random"][1])
        self.recorder.restore(state["recorder"])


def write_interactions(split: Split, folder: Path) -> None:
    """Writes the split as RecBole's atomic file; the time of an interaction is its place in the user's history."""
    rows = [
        (user, item, place)
        for user, (items, target) in enumerate(zip(_full_histories(split), split.targets["test"], strict=True), 1)
        for place, item in enumerate([*items, target[1]])
    ]
    (folder / NAME).mkdir(parents=True, exist_ok=True)
    lines = ["user_id:token\titem_id:token\ttimestamp:float", *("\t".join(map(str, row)) for row in rows)]
    (folder / NAME / f"{NAME}.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _full_histories(split: Split) -> list[np.ndarray]:
    histories = split.seen["test"]
    return np.split(histories.items, histories.offsets[2:-1])


def check_split(split: Split, dataset: Any, held_out: Any, horizon: str) -> None:
    """Refuses targets that are not ours."""
    users, items = (
        dataset.id2token(field, held_out.dataset.inter_feat[field].numpy()).astype(np.int64)
        for field in ("user_id", "item_id")
    )
    expected = split.targets[horizon][:, :2]
    if not np.array_equal(np.stack([users, items], axis=1)[np.argsort(users)], expected):
        raise SystemExit(f"RecBole's {horizon} targets differ from those of the split")


def main() -> None:
    """Trains with one setting and writes the run."""
    split_path, run_path, setting = sys.argv[1:]
    del sys.argv[1:]  # RecBole reads the command line too
    split = Split.load(Path(split_path))
    values = json.loads(setting)
    recorder = Recorder(split, "RecBole", float(values.pop("limit_s", "inf")))
    write_interactions(split, Path.cwd())
    fixed = {
        "data_path": str(Path.cwd()),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"},
        "train_neg_sample_args": None,
        "metrics": ["NDCG"],
        "valid_metric": "NDCG@10",
        "use_gpu": False,
        "show_progress": False,
    }
    config = Config(model="SASRec", dataset=NAME, config_dict=fixed | values)
    torch.autograd.set_detect_anomaly(False)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train, validation, test = data_preparation(config, dataset)
    check_split(split, dataset, validation, "validation")
    check_split(split, dataset, test, "test")
    tokens = dataset.field2id_token["item_id"][1:].astype(np.int64)
    trainer = OurTrainer(config, SASRec(config, train.dataset), recorder, tokens)
    recorder.start()
    if CHECKPOINT.is_file():
        trainer.restore(train)

    def end_epoch(epoch: int, _score: float) -> None:
        trainer.save(train, epoch)
        if recorder.must_stop:
            raise TimeIsOverError

    with suppress(TimeIsOverError):
        trainer.fit(train, validation, verbose=False, saved=False, callback_fn=end_epoch)
    trainer.model.load_state_dict(trainer.best_state)
    recorder.finish(trainer.scorer, PACKAGES).save(Path(run_path))


if __name__ == "__main__":
    main()
