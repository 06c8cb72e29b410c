"""What a model was trained on, under original ids: a target that it has seen there measures nothing.

T targets, U users.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from ur4rec.columns import ITEM, TIMESTAMP_S, USER
from ur4rec.data.sequences import Histories, Sequences


@dataclass(frozen=True)
class TrainingExtent:
    """How far training went: in each user's history, and in time."""

    user_index: Mapping[str, int]
    """Original id → index in `histories`."""
    item_index: Mapping[str, int]
    histories: Histories
    lengths: Int64[np.ndarray, "U1"]
    """Interactions of each user, from the first on, that training saw."""
    cutoff_s: int
    """The latest of them."""


def find_unseen(data: Sequences, targets: Int64[np.ndarray, "T 3"], extent: TrainingExtent) -> Bool[np.ndarray, "T"]:
    """Return whether each target, a row `user, item, timestamp_s`, lies beyond what a training saw of its user.

    The extent counts how many of a user's interactions training saw. A target is beyond them when it is none of these
    and no older than the last of them. A user that the training did not know has all targets unseen.
    """
    users = find_indices(data.user_ids, extent.user_index)[targets[:, USER]]
    items = find_indices(data.item_ids, extent.item_index)[targets[:, ITEM]]
    rows, positions = extent.histories.find_rows(users)
    trained = positions - extent.histories.offsets[users[rows]] < extent.lengths[users[rows]]
    rows, positions = rows[trained], positions[trained]
    later_s = extent.histories.timestamps[positions] - targets[rows, TIMESTAMP_S]
    is_target = (later_s == 0) & (extent.histories.items[positions] == items[rows])
    unseen = np.ones(len(targets), dtype=bool)
    unseen[rows[(later_s > 0) | is_target]] = False
    return unseen


def find_indices(ids: tuple[str, ...], index: Mapping[str, int]) -> Int64[np.ndarray, "N1"]:
    """Return index here → index there; 0 where there is none, as for padding."""
    return np.array([0, *(index.get(original, 0) for original in ids[1:])])
