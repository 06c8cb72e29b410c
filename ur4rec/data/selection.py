"""Filters and split applied to the interactions of a file, with a count of everything left out.

Letters: R rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float64, Int8, Int64, Shaped

from ur4rec.data.config import DataConfig
from ur4rec.data.interactions import Interactions
from ur4rec.data.splits import (
    Part,
    drop_newest,
    keep_core,
    keep_long_users,
    sort_rows,
    split_by_time,
    split_leave_one_out,
)


@dataclass(frozen=True)
class Rows:
    """Interactions; users and items are positions among the ids of the file."""

    users: Int64[np.ndarray, "R"]
    items: Int64[np.ndarray, "R"]
    timestamps: Float64[np.ndarray, "R"]
    parts: Int8[np.ndarray, "R"]
    """Values of `Part`."""

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: Shaped[np.ndarray, "K"]) -> Rows:
        """The rows of a mask or of positions."""
        return replace(self, **{name: values[rows] for name, values in vars(self).items()})


@dataclass
class Selection:
    """Rows that are left, sorted by user, then time."""

    rows: Rows
    cut: float | None = None
    """Time split: history lies strictly before it; seconds."""
    excluded_rows: dict[str, int] = field(default_factory=dict)
    excluded_users: dict[str, int] = field(default_factory=dict)

    def keep(self, kept: Shaped[np.ndarray, "R"], reason: str) -> None:
        """Drops the other rows and counts them and the users that are gone with them."""
        rows = self.rows.take(kept)
        if len(rows) < len(self.rows):
            self.excluded_rows[reason] = len(self.rows) - len(rows)
            num_users_gone = len(np.unique(self.rows.users)) - len(np.unique(rows.users))
            self.excluded_users |= {reason: num_users_gone} if num_users_gone else {}
        self.rows = rows


def select_rows(raw: Interactions, config: DataConfig) -> Selection:
    """Applies `min_rating`, `drop_last`, `min_seq_len` or the k-core, and the split, in this order."""
    selection = Selection(
        Rows(raw.users, raw.items, raw.timestamps, np.full(len(raw.users), Part.TRAIN, dtype=np.int8))
    )
    if config.min_rating is not None and raw.ratings is not None:
        selection.keep(raw.ratings >= config.min_rating, "below_min_rating")
    rows = selection.rows
    selection.rows = rows.take(sort_rows(rows.users, rows.timestamps))
    if config.drop_last:
        selection.keep(drop_newest(selection.rows.users, config.drop_last), "newest_dropped")
    if config.k_core:
        kept = keep_core(selection.rows.users, selection.rows.items, config.min_seq_len)
        selection.keep(kept, "outside_k_core")
    else:
        selection.keep(keep_long_users(selection.rows.users, config.min_seq_len), "user_below_min_seq_len")
    if len(selection.rows):
        _split(selection, config)
    return selection


def _split(selection: Selection, config: DataConfig) -> None:
    rows = selection.rows
    if config.split == "leave_one_out":
        selection.rows = replace(rows, parts=split_leave_one_out(rows.users))
        return
    split = split_by_time(rows.users, rows.timestamps, config.time_split_quantile)
    selection.rows, selection.cut = replace(rows, parts=split.parts), split.cut
    selection.keep(split.parts != Part.NO_HISTORY, "user_without_history_before_cut")
