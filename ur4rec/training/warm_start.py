"""Begins where another model ended: its weights, and its items under their original ids.

N items, K items that both models know, D width, F factors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float32, Int64

from ur4rec.columns import TIMESTAMP_S
from ur4rec.data.sequences import Sequences
from ur4rec.data.training_extent import TrainingExtent, find_indices, find_unseen
from ur4rec.models.config import ModelConfig
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.training.checkpoints import Origin

if TYPE_CHECKING:
    from sklearn.linear_model import Ridge

SHAPE = ("sasrec_hidden_dim", "sasrec_num_blocks", "sasrec_num_heads", "max_seq_len")
"""Settings that must be those of the other model."""
OF_ITEMS = ("sasrec.item_embedding.", "sasrec.item_factors", "sasrec.factor_projection.")
"""Tensors that are not carried over by name: their rows or their basis belong to one data set."""
SHRINKAGE = 0.1
"""A vector is predicted as if so many more items, relative to those there are, had said nothing."""


class WarmStartError(ValueError):
    """A model that cannot be started from; says why and what to do."""


@dataclass(frozen=True)
class WarmStart:
    """A trained model to start from."""

    name: str
    """`models:/NAME/VERSION`, or a folder."""
    digest: str
    """Digest of its contents, part of the key of all that starts from it."""
    model: UR4RecV2MoE
    extent: TrainingExtent
    """Its training data, and its items under their original ids."""

    def match(self, data: Sequences) -> tuple[Int64[np.ndarray, "K"], Int64[np.ndarray, "K"]]:
        """Items that it was trained on and that the data have: their indices there, and in the model."""
        is_trained = self.model.retriever.encoder.get_buffer("is_trained").numpy()
        theirs = find_indices(data.item_ids, self.extent.item_index)
        here = np.flatnonzero((theirs > 0) & is_trained[theirs])
        return here, theirs[here]

    def describe(self, data: Sequences) -> Origin:
        """Returns what the history of the training tells of it."""
        return Origin(self.name, self.digest, self.extent.cutoff_s, len(self.match(data)[0]))


def shape_of(start: WarmStart | None) -> dict[str, Any]:
    """Returns the settings that must be those of the model that training starts from; none from scratch."""
    return {} if start is None else {name: getattr(start.model.config, name) for name in SHAPE}


def check_warm_start(start: WarmStart, data: Sequences, config: ModelConfig, by_time: bool) -> None:
    """Checks that a model fits the configuration and has not been trained on what it is to be measured by.

    `by_time` tells whether the data are split at one time for everybody.

    Raises:
        WarmStartError: It does not; names the setting, or the target.
    """
    _check_shape(start, config.resolve())
    if not len(start.match(data)[0]):
        raise WarmStartError(
            f"warm start from {start.name}: it knows none of the {data.num_items:,} items; "
            "train from scratch, or name a model whose data have the same item ids"
        )
    _check_targets(start, data, by_time)


def _check_shape(start: WarmStart, config: ModelConfig) -> None:
    theirs = start.model.config
    if start.model.sasrec is None:
        raise WarmStartError(f"warm start from {start.name}: system: it is a {theirs.system}, which has no SASRec")
    for name in SHAPE:
        there, here = getattr(theirs, name), getattr(config, name)
        if there != here:
            raise WarmStartError(
                f"warm start from {start.name}: {name}: it has {there}, this configuration has {here}; "
                f"set {name} to {there}, or train from scratch"
            )


def _check_targets(start: WarmStart, data: Sequences, by_time: bool) -> None:
    targets = np.concatenate([data.val, data.test])
    seen = targets[~find_unseen(data, targets, start.extent)]
    advice = "train from scratch, or start from a version trained on older data"
    if len(seen):
        user, item, _ = seen[0].tolist()
        raise WarmStartError(
            f"warm start from {start.name}: its training has seen {len(seen):,} of the {len(targets):,} validation and "
            f"test targets, or what their users did later (the first: user {data.user_ids[user]!r}, item "
            f"{data.item_ids[item]!r}), so they would measure nothing; {advice}"
        )
    first_s = int(data.test[:, TIMESTAMP_S].min()) if len(data.test) else 0
    if by_time and start.extent.cutoff_s >= first_s:
        raise WarmStartError(
            f"warm start from {start.name}: it was trained on interactions up to {start.extent.cutoff_s} s, and "
            f"`split: time` tests from {first_s} s on; {advice}"
        )


@torch.no_grad()
def continue_sasrec(
    model: UR4RecV2MoE, data: Sequences, factors: Float32[np.ndarray, "N1 F"], start: WarmStart
) -> None:
    """Gives a model the SASRec of another one.

    The factors have another basis in every data set, so neither they nor their map can be copied. What counts is an
    item's vector, embedding and mapped factors together: it is carried over for the items that both know. The map is
    fitted to these vectors anew, and what it cannot say of an item is the item's embedding. A new item that training
    knows begins with what the map says of it; one without interactions with nothing, as from scratch.
    """
    assert model.sasrec is not None
    assert start.model.sasrec is not None
    state = {name: value for name, value in start.model.state_dict().items() if _is_shared(name)}
    model.load_state_dict(state, strict=False)
    used = factors[:, : model.config.sasrec_item_factors or factors.shape[1]]
    here, there = start.match(data)
    theirs = start.model.sasrec.item_vectors()[torch.from_numpy(there)].numpy()
    is_known = np.zeros(len(factors), dtype=bool)
    is_known[here] = True
    is_new = model.retriever.encoder.get_buffer("is_trained").numpy() & ~is_known
    fitted = fit_vectors(used[here], theirs)
    vectors = np.zeros((len(factors), theirs.shape[1]), dtype=np.float32)
    vectors[here] = theirs
    if is_new.any():
        vectors[is_new] = fitted.predict(used[is_new])
    model.sasrec.start_with(*(torch.from_numpy(each) for each in (vectors, used, fitted.coef_)))


@torch.no_grad()
def describe_cold_items(model: UR4RecV2MoE) -> None:
    """Gives the items without interactions a vector of SASRec from their text.

    It is predicted by a linear map, fitted to the vectors and texts of the items that training knows. An item that has
    a vector (the model that was started from knew it) keeps it. Without texts nothing changes.
    """
    assert model.sasrec is not None
    text = model.retriever.encoder.text.items()
    if text is None:
        return
    vectors, is_trained = model.sasrec.item_vectors(), model.retriever.encoder.get_buffer("is_trained")
    is_cold = ~is_trained & (vectors == 0).all(dim=1)
    is_cold[0] = False
    if is_cold.any():
        fitted = fit_vectors(text[is_trained].numpy(), vectors[is_trained].numpy())
        model.sasrec.item_embedding.weight[is_cold] = torch.from_numpy(fitted.predict(text[is_cold].numpy()))


def fit_vectors(features: Float32[np.ndarray, "K F"], vectors: Float32[np.ndarray, "K D"]) -> Ridge:
    """Ridge regression from features of about unit variance to item vectors, with an intercept."""
    from sklearn.linear_model import Ridge  # 70 MB, which only a warm start needs

    return Ridge(alpha=SHRINKAGE * len(features)).fit(features, vectors)


def _is_shared(name: str) -> bool:
    is_sasrec = name.startswith("sasrec.") or name == "fusion.sasrec_log_temperature"
    return is_sasrec and not name.startswith(OF_ITEMS)
