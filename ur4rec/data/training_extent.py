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
    """Whether each target lies beyond what a training saw of its user.

    The extent counts how many of a user's interactions training saw. A target is beyond them when it is none of these
    and no older than the last of them. A user that the training did not know has all targets unseen.

    Args:
        data: Whose targets.
        targets: Rows `user, item, timestamp_s`.
        extent: Of the training.
    """
    unseen = np.ones(len(targets), dtype=bool)
    for row, (user, item, timestamp) in enumerate(targets[:, [USER, ITEM, TIMESTAMP_S]].tolist()):
        known = extent.user_index.get(data.user_ids[user], 0)
        if not known:
            continue
        start = int(extent.histories.offsets[known])
        rows = slice(start, start + int(extent.lengths[known]))
        times = extent.histories.timestamps[rows]
        same = extent.histories.items[rows] == extent.item_index.get(data.item_ids[item], 0)
        unseen[row] = not len(times) or (timestamp >= times[-1] and not (same & (times == timestamp)).any())
    return unseen
