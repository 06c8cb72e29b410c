"""Which test targets are fair to all models: those that none of them saw in training.

T targets, U users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool

from ur4rec.columns import ITEM, TIMESTAMP_S, USER
from ur4rec.data.sequences import Sequences
from ur4rec.registry.bundle import Bundle
from ur4rec.registry.gate.rules import GateRules


@dataclass(frozen=True)
class Population:
    """The targets that are ranked."""

    kind: Literal["later", "unseen"]
    rows: np.ndarray
    """Positions in the test targets."""
    too_few: bool
    """Whether the rules say that nothing may follow from so few users."""
    compares: bool
    """Whether models may be compared on it."""
    note: str


def choose_population(data: Sequences, bundles: Sequence[Bundle], rules: GateRules) -> Population:
    """Targets later than everything any model was trained on; where these are few, what the rules name.

    Args:
        data: The test data.
        bundles: Of the models that are compared.
        rules: `min_users` and `few_later_users`.
    """
    cutoff = max(int(bundle.manifest.details["training_cutoff_s"]) for bundle in bundles)
    later = np.flatnonzero(data.test[:, TIMESTAMP_S] > cutoff)
    if len(later) >= rules.min_users:
        return Population("later", later, False, True, f"{len(later):,} targets are later than all training")
    few = f"only {len(later):,} targets are later than all training (min_users: {rules.min_users:,})"
    if rules.few_later_users == "fail":
        return Population("later", later, True, False, f"{few}; few_later_users: fail")
    unseen = np.flatnonzero(np.logical_and.reduce([find_unseen(data, bundle) for bundle in bundles]))
    note = f"{few}; few_later_users: {rules.few_later_users}, {len(unseen):,} targets that no training saw were ranked"
    return Population("unseen", unseen, len(unseen) < rules.min_users, rules.few_later_users == "unseen", note)


def find_unseen(data: Sequences, bundle: Bundle) -> Bool[np.ndarray, "T"]:
    """Whether each test target lies beyond what the bundle's training saw of its user.

    The bundle counts how many of a user's interactions training saw. A target is beyond them when it is none of these
    and no older than the last of them. A user that the bundle does not know has all targets unseen.
    """
    unseen = np.ones(len(data.test), dtype=bool)
    for row, (user, item, timestamp) in enumerate(data.test[:, [USER, ITEM, TIMESTAMP_S]].tolist()):
        known = bundle.user_index.get(data.user_ids[user], 0)
        if not known:
            continue
        start = int(bundle.histories.offsets[known])
        rows = slice(start, start + int(bundle.training_lengths[known]))
        times = bundle.histories.timestamps[rows]
        same = bundle.histories.items[rows] == bundle.item_index.get(data.item_ids[item], 0)
        unseen[row] = not len(times) or (timestamp >= times[-1] and not (same & (times == timestamp)).any())
    return unseen
