"""Trains RecTools' SASRec, in the peers' environment: `python -m benchmarks.peer_rectools SPLIT RUN SETTING`.

RecTools trains a fixed number of epochs and watches a loss, so a callback ranks the validation targets after every
epoch with our protocol and keeps the best weights. Scores are computed as `recommend` computes them, without its
tables. An item that no training prefix holds is unknown to RecTools: it shares the last place with the others of its
kind.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import LambdaCallback
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

from benchmarks.peer_exchange import Recorder, Split, pad_histories
from ur4rec.data.sequences import Histories

PACKAGES = ("RecTools", "pytorch-lightning", "torch", "numpy", "scipy", "pandas")


class Scorer:
    """Scores of the whole catalogue, in our item numbers."""

    def __init__(self, model: SASRecModel, histories: Histories, num_items: int) -> None:
        known = model.data_preparator.get_known_item_ids().astype(np.int64)
        names = np.zeros(num_items + 1, dtype=np.int64)
        names[known] = np.arange(1, len(known) + 1)
        self.network, self.length = model.torch_model.eval(), model.session_max_len
        self.columns, self.width = torch.from_numpy(known), num_items + 1
        self.histories = histories.rename_items(names)
        with torch.no_grad():
            self.item_vectors = self.network.item_model.get_all_embeddings()

    def __call__(self, users: np.ndarray) -> torch.Tensor:
        """`[B, N + 1]`; column 0 is padding."""
        items, _lengths = pad_histories(self.histories, users, self.length, left=True)
        sessions = self.network.encode_sessions({"x": torch.from_numpy(items)}, self.item_vectors)[:, -1]
        scores = torch.full((len(users), self.width), -torch.inf)
        scores[:, self.columns] = (sessions @ self.item_vectors.T)[:, 1:]
        return scores


def build_dataset(histories: Histories) -> Dataset:
    """The training prefixes; the time of an interaction is its place in the user's history."""
    users = histories.users
    places = np.arange(len(users)) - histories.offsets[users]
    columns = {
        Columns.User: users,
        Columns.Item: histories.items,
        Columns.Weight: 1.0,
        Columns.Datetime: pd.to_datetime(places, unit="s"),
    }
    return Dataset.construct(pd.DataFrame(columns))


def main() -> None:
    """Trains with one setting and writes the run."""
    split_path, run_path, setting = sys.argv[1:]
    values = json.loads(setting)
    split = Split.load(Path(split_path))
    recorder = Recorder(split, "RecTools")
    seed_everything(values.pop("seed"), verbose=False)
    model = SASRecModel(**values)
    best: dict[str, torch.Tensor] = {}

    def scorer(histories: Histories) -> Scorer:
        return Scorer(model, histories, split.num_items)

    def validate(_trainer: Trainer, module: LightningModule) -> None:
        _score, improved = recorder.validate(scorer(split.seen["validation"]))
        if improved:
            best.update({name: value.clone() for name, value in module.torch_model.state_dict().items()})
        module.torch_model.train()

    model._trainer = Trainer(  # as the class documents: the way to a trainer of one's own after construction
        max_epochs=model.epochs,
        min_epochs=model.epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            LambdaCallback(on_train_start=lambda *_: recorder.start(), on_train_epoch_end=validate),
        ],
    )
    model.fit(build_dataset(split.seen["validation"]))
    model.torch_model.load_state_dict(best)
    recorder.finish(scorer, PACKAGES).save(Path(run_path))


if __name__ == "__main__":
    main()
