"""What a reader must know of a data set before believing a number measured on it."""

from __future__ import annotations

import numpy as np

from ur4rec.columns import ITEM, USER
from ur4rec.data.sequences import Sequences

FEW_USERS = 100
FEW_ITEMS = 20


def describe_caveats(data: Sequences) -> list[str]:
    """Sentences for the notes of a result; none for a data set without surprises."""
    caveats = []
    if len(data.test) < FEW_USERS:
        caveats.append(
            f"Only {len(data.test):,} users have a test target: the intervals are wide and not to be trusted."
        )
    if data.num_items <= FEW_ITEMS:
        caveats.append(f"The catalogue has only {data.num_items:,} items: high values are easy to reach.")
    repeats = repeated_targets_share(data)
    if repeats:
        caveats.append(
            f"{repeats:.1%} of the test targets had been seen by their user before. They are ranked all the same, "
            "but a model is not asked for other items seen before."
        )
    return caveats


def repeated_targets_share(data: Sequences) -> float:
    """Share of test targets whose user had interacted with the item before."""
    if not len(data.test):
        return 0.0
    seen = data.histories("test")
    width = data.num_items + 1
    pairs = np.repeat(np.arange(len(seen.lengths)), seen.lengths) * width + seen.items
    return float(np.isin(data.test[:, USER] * width + data.test[:, ITEM], pairs).mean())
