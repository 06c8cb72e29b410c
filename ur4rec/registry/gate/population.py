"""Which test targets are fair to all models: those that none of them saw in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ur4rec.columns import TIMESTAMP_S
from ur4rec.data.sequences import Sequences
from ur4rec.data.training_extent import find_unseen
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
    unseen = np.flatnonzero(np.logical_and.reduce([find_unseen(data, data.test, bundle.extent) for bundle in bundles]))
    note = f"{few}; few_later_users: {rules.few_later_users}, {len(unseen):,} targets that no training saw were ranked"
    return Population("unseen", unseen, len(unseen) < rules.min_users, rules.few_later_users == "unseen", note)
