"""Parts of the test users: by quarter of history length, by quarter of the target's popularity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

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
    """Splits values into quarters, lowest first; equal values stay together, so sizes differ where many are equal.

    >>> [(group.name, group.low, group.high) for group in quantile_groups(np.array([5, 1, 1, 8, 3, 2, 9, 4]))]
    [('q1', 1, 1), ('q2', 2, 3), ('q3', 4, 5), ('q4', 8, 9)]
    """
    if len(values) == 0:
        return []
    edges = np.quantile(values, np.arange(1, NUM_GROUPS) / NUM_GROUPS)
    quarter = np.searchsorted(edges, values, side="left")
    return [_group(f"q{number + 1}", values, np.flatnonzero(quarter == number)) for number in np.unique(quarter)]


def popularity_groups(popularity: np.ndarray) -> list[Group]:
    """Quarters of the targets that training knows, and before them the `cold` ones without an interaction.

    >>> [(group.name, group.positions.tolist()) for group in popularity_groups(np.array([7, 0, 3, 9, 5]))]
    [('cold', [1]), ('q1', [2]), ('q2', [4]), ('q3', [0]), ('q4', [3])]
    """
    cold, warm = np.flatnonzero(popularity == 0), np.flatnonzero(popularity > 0)
    groups = [_group(COLD, popularity, cold)] if len(cold) else []
    return groups + [
        Group(group.name, group.low, group.high, warm[group.positions]) for group in quantile_groups(popularity[warm])
    ]


def _group(name: str, values: np.ndarray, positions: np.ndarray) -> Group:
    inside = values[positions]
    return Group(name, int(inside.min()), int(inside.max()), positions)
