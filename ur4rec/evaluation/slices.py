"""Parts of the test users that are also measured apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from ur4rec.columns import ITEM, USER
from ur4rec.data.sequences import Sequences

NUM_GROUPS = 4
COLD = "cold"


@dataclass(frozen=True)
class Group:
    """Positions of the values that belong together."""

    name: str
    low: int
    high: int
    positions: Int64[np.ndarray, "G"]


def quantile_groups(values: np.ndarray) -> list[Group]:
    """Split values into quarters, lowest first; equal values stay together, so sizes differ where many are equal.

    >>> [(group.name, group.low, group.high) for group in quantile_groups(np.array([5, 1, 1, 8, 3, 2, 9, 4]))]
    [('q1', 1, 1), ('q2', 2, 3), ('q3', 4, 5), ('q4', 8, 9)]
    """
    if len(values) == 0:
        return []
    edges = np.quantile(values, np.arange(1, NUM_GROUPS) / NUM_GROUPS)
    quarter = np.searchsorted(edges, values, side="left")
    return [_group(f"q{number + 1}", values, np.flatnonzero(quarter == number)) for number in np.unique(quarter)]


def popularity_groups(popularity: np.ndarray) -> list[Group]:
    """Split the targets that training knows into quarters; before them come the `cold` ones without an interaction.

    >>> [(group.name, group.positions.tolist()) for group in popularity_groups(np.array([7, 0, 3, 9, 5]))]
    [('cold', [1]), ('q1', [2]), ('q2', [4]), ('q3', [0]), ('q4', [3])]
    """
    cold, warm = np.flatnonzero(popularity == 0), np.flatnonzero(popularity > 0)
    groups = [_group(COLD, popularity, cold)] if len(cold) else []
    return groups + [
        Group(group.name, group.low, group.high, warm[group.positions]) for group in quantile_groups(popularity[warm])
    ]


@dataclass(frozen=True)
class Slicing:
    """A way to part the test users.

    Args:
        title: For a reader.
        groups: The data set and some of its test targets, `[T, 3]`, to the groups of their positions.
    """

    title: str
    groups: Callable[[Sequences, Int64[np.ndarray, "T 3"]], list[Group]]


SLICES = {
    "history_length": Slicing(
        "users by history length",
        lambda data, targets: quantile_groups(data.histories("test").lengths[targets[:, USER]]),
    ),
    "target_popularity": Slicing(
        "targets by popularity", lambda data, targets: popularity_groups(data.training_counts()[targets[:, ITEM]])
    ),
}
"""All of them: what is added here is measured, reported and in the model card."""


def slice_title(by: str) -> str:
    """Return the title of a way to part users; the key itself of one that this release does not know."""
    return SLICES[by].title if by in SLICES else by


def _group(name: str, values: np.ndarray, positions: np.ndarray) -> Group:
    inside = values[positions]
    return Group(name, int(inside.min()), int(inside.max()), positions)
