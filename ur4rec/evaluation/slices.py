"""Parts of the test users that are also measured apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from ur4rec.columns import ITEM, USER
from ur4rec.data.sequences import Sequences

NUM_GROUPS = 4
COLD = "cold"
TARGET_COUNT = "target_count"
COUNT_EDGES = (1, 5, 10, 30)
"""Training interactions of a target at which the next group begins; before them come the targets with none."""
LENGTH_EDGES = (5, 10, 20, 50)
"""Interactions of a user at which the next group begins."""


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


def name_groups(edges: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the groups that begin at 0 and at the edges.

    >>> name_groups((1, 5, 10, 30))
    ('0', '1-4', '5-9', '10-29', '30+')
    """
    ranges = zip((0, *edges), edges, strict=False)
    return (*(f"{low}-{end - 1}" if end - low > 1 else f"{low}" for low, end in ranges), f"{edges[-1]}+")


def fixed_groups(values: np.ndarray, edges: Sequence[int]) -> list[Group]:
    """Split values at the same edges for every data set; a group without a value is left out.

    >>> [(group.name, group.positions.tolist()) for group in fixed_groups(np.array([7, 0, 31, 5]), (1, 5, 10, 30))]
    [('0', [1]), ('5-9', [0, 3]), ('30+', [2])]
    """
    numbers, names = np.searchsorted(edges, values, side="right"), name_groups(edges)
    return [_group(names[number], values, np.flatnonzero(numbers == number)) for number in np.unique(numbers)]


@dataclass(frozen=True)
class Slicing:
    """A way to part the test users.

    Args:
        title: For a reader.
        groups: The data set and some of its test targets, `[T, 3]`, to the groups of their positions.
        names: All groups that there can be, where they are the same for every data set.
    """

    title: str
    groups: Callable[[Sequences, Int64[np.ndarray, "T 3"]], list[Group]]
    names: tuple[str, ...] = ()


SLICES = {
    "history_length": Slicing(
        "users by history length", lambda data, targets: quantile_groups(_history_lengths(data, targets))
    ),
    "target_popularity": Slicing(
        "targets by popularity", lambda data, targets: popularity_groups(_training_counts(data, targets))
    ),
    "history_count": Slicing(
        "users by number of interactions",
        lambda data, targets: fixed_groups(_history_lengths(data, targets), LENGTH_EDGES),
        name_groups(LENGTH_EDGES),
    ),
    TARGET_COUNT: Slicing(
        "targets by training interactions",
        lambda data, targets: fixed_groups(_training_counts(data, targets), COUNT_EDGES),
        name_groups(COUNT_EDGES),
    ),
}
"""All of them: what is added here is measured, reported and in the model card."""


def slice_title(by: str) -> str:
    """Return the title of a way to part users; the key itself of one that this release does not know."""
    return SLICES[by].title if by in SLICES else by


def _history_lengths(data: Sequences, targets: Int64[np.ndarray, "T 3"]) -> Int64[np.ndarray, "T"]:
    lengths: np.ndarray = data.histories("test").lengths[targets[:, USER]]
    return lengths


def _training_counts(data: Sequences, targets: Int64[np.ndarray, "T 3"]) -> Int64[np.ndarray, "T"]:
    counts: np.ndarray = data.training_counts()[targets[:, ITEM]]
    return counts


def _group(name: str, values: np.ndarray, positions: np.ndarray) -> Group:
    inside = values[positions]
    return Group(name, int(inside.min()), int(inside.max()), positions)
