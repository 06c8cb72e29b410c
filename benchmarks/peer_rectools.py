"""Trains RecTools' transformers, in the peers' environment: `python -m benchmarks.peer_rectools SPLIT RUN SETTING`.

The setting is the arguments of SASRec, or of the `model` that it names, and perhaps the name of its `layers`. RecTools
trains a fixed number of epochs and watches a loss, so a callback ranks the validation targets after every epoch with
our protocol, keeps the best weights and ends a training that gains nothing or takes too long. Scores are computed as
`recommend` computes them, without its tables. RecTools computes logits and losses at padded places too, which count for
nothing; with `skips_padding` they are computed at the others alone, for the same loss in a fraction of the time.

An item that no training prefix holds is unknown to RecTools: it shares the last place with the others of its
kind.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import LambdaCallback
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import HSTUModel, SASRecModel
from rectools.models.nn.transformers.lightning import TransformerLightningModule
from rectools.models.nn.transformers.ligr import LiGRLayers

from benchmarks.peer_exchange import Recorder, Split, pad_histories
from ur4rec.data.sequences import Histories

PACKAGES = ("RecTools", "pytorch-lightning", "torch", "numpy", "scipy", "pandas")
MODELS = {"SASRec": SASRecModel, "HSTU": HSTUModel}
LAYERS = {"LiGR": LiGRLayers}
Model = SASRecModel | HSTUModel


class WithoutPadding(TransformerLightningModule):
    """RecTools' loss, computed at the places that have a target."""

    def training_step(self, batch: dict[str, torch.Tensor], _batch_idx: int) -> torch.Tensor:
        """The loss of a batch."""
        rows = batch["y"] != 0
        targets, weights = batch["y"][rows][None], batch["yw"][rows][None]
        vectors = self.torch_model.item_model.get_all_embeddings()
        sessions = self.torch_model.encode_sessions(batch, vectors)[rows][None]
        candidates = None
        if self._requires_negatives:
            candidates = torch.cat([targets[..., None], batch["negatives"][rows][None]], dim=-1)
        logits = self.torch_model.similarity_module(sessions, vectors, candidates) / self.logits_t
        return self.loss_calculator(logits, targets, weights)


class Scorer:
    """Scores of the whole catalogue, in our item numbers."""

    def __init__(self, model: Model, histories: Histories, num_items: int) -> None:
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
        scores[:, self.columns] = self.network.similarity_module(sessions, self.item_vectors)[:, 1:]
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


def build_model(values: dict[str, Any]) -> Model:
    """An untrained model of the arguments, where classes are named."""
    named: dict[str, type] = {"transformer_layers_type": LAYERS[values.pop("layers")]} if "layers" in values else {}
    if values.pop("skips_padding", False):
        named["lightning_module_type"] = WithoutPadding
    return MODELS[values.pop("model", "SASRec")](**values, **named)


def main() -> None:
    """Trains with one setting and writes the run."""
    split_path, run_path, setting = sys.argv[1:]
    values = json.loads(setting)
    split = Split.load(Path(split_path))
    recorder = Recorder(split, "RecTools", float(values.pop("limit_s", "inf")), values.pop("patience", None))
    seed_everything(values.pop("seed"), verbose=False)
    model = build_model(values)
    best: dict[str, torch.Tensor] = {}

    def scorer(histories: Histories) -> Scorer:
        return Scorer(model, histories, split.num_items)

    def validate(trainer: Trainer, module: LightningModule) -> None:
        _score, improved = recorder.validate(scorer(split.seen["validation"]))
        if improved:
            best.update({name: value.clone() for name, value in module.torch_model.state_dict().items()})
        module.torch_model.train()
        trainer.should_stop = recorder.must_stop

    model._trainer = Trainer(  # as the class documents: the way to a trainer of one's own after construction
        max_epochs=model.epochs,
        min_epochs=1,
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
