"""What the rules are told of the data: counts over the training prefixes, never a validation or test target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ur4rec.columns import USER
from ur4rec.data.sequences import Sequences

SHARE = 0.9
"""Share of the users that the quantiles speak of."""


@dataclass(frozen=True)
class DataStatistics:
    """The size of a data set, and how long its histories are; a history is a user's training prefix."""

    num_users: int
    """Those with a history."""
    num_items: int
    """Those of the catalogue."""
    num_interactions: int
    """Those of the histories."""
    short: int
    """At least 90 % of the histories are so long."""
    median: int
    """At least half of the histories are so long."""
    long: int
    """At least 90 % of the histories are no longer."""


def measure(data: Sequences) -> DataStatistics:
    """Return the statistics of a data set's training prefixes."""
    lengths = np.bincount(data.train[:, USER])
    return summarise(lengths[lengths > 0] if lengths.any() else np.zeros(1, int), data.num_items)


def summarise(lengths: np.ndarray, num_items: int) -> DataStatistics:
    """Return the statistics of histories of these lengths, of which there is at least one.

    >>> summarise(np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), num_items=50)
    DataStatistics(num_users=10, num_items=50, num_interactions=55, short=2, median=6, long=9)
    """
    ordered = np.sort(lengths)
    last = len(ordered) - 1
    return DataStatistics(
        num_users=len(ordered),
        num_items=num_items,
        num_interactions=int(ordered.sum()),
        short=int(ordered[len(ordered) - _count_share(len(ordered), SHARE)]),
        median=int(ordered[len(ordered) - _count_share(len(ordered), 0.5)]),
        long=int(ordered[min(last, _count_share(len(ordered), SHARE) - 1)]),
    )


def _count_share(count: int, share: float) -> int:
    """Return how many of `count` are at least a share of them."""
    return max(1, int(np.ceil(round(count * share, 6))))
