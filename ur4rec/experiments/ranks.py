"""Ranks of every target, kept beside what they were measured with.

T targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from ur4rec.evaluation.candidates import Horizon

RANKS = "ranks.npz"
HORIZONS: tuple[Horizon, ...] = ("validation", "test")

RanksAt = Mapping[str, Mapping[str, Int64[np.ndarray, "T 2"]]]
"""Horizon → system → first and last rank of each target, in the order of the sequences folder."""


def save_ranks(folder: Path, ranks: RanksAt) -> None:
    """Writes `ranks.npz` with one array `<horizon>.<system>` each."""
    arrays = {f"{horizon}.{system}": rank for horizon in HORIZONS for system, rank in ranks[horizon].items()}
    np.savez(folder / RANKS, allow_pickle=False, **arrays)


def load_ranks(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Reads what `save_ranks` wrote; the caller has verified the folder."""
    ranks: dict[str, dict[str, np.ndarray]] = {horizon: {} for horizon in HORIZONS}
    with np.load(folder / RANKS, allow_pickle=False) as arrays:
        for name in arrays:
            horizon, _, system = name.partition(".")
            ranks[horizon][system] = arrays[name]
    return ranks
