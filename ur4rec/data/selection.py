"""Filters and split applied to the interactions of a file, with a count of everything left out.

Letters: R rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64, Shaped

from ur4rec.data.config import DataConfig
from ur4rec.data.interactions import Interactions


class Part(IntEnum):
    """What a row is used for."""

    TRAIN = 0
    VAL = 1
    TEST = 2
    UNUSED = 3
    """Time split: after the user's target."""
    NO_HISTORY = 4
    """Time split: of a user with nothing before the cut."""


@dataclass(frozen=True)
class TimeSplit:
    """Parts of the rows and the time that separates them."""

    parts: Int8[np.ndarray, "R"]
    cut: float
    """Seconds; history lies strictly before it."""


def keep_long_users(users: Int64[np.ndarray, "R"], min_seq_len: int) -> Bool[np.ndarray, "R"]:
    """Mark the rows of users with at least `min_seq_len` rows.

    >>> keep_long_users(np.array([0, 1, 0, 0]), 2).tolist()
    [True, False, True, True]
    """
    keep: np.ndarray = np.bincount(users)[users] >= min_seq_len
    return keep


def keep_core(users: Int64[np.ndarray, "R"], items: Int64[np.ndarray, "R"], k: int) -> Bool[np.ndarray, "R"]:
    """Mark the rows of the largest subset in which every user and every item has at least `k` rows.

    Item 1 below has one row; without it user 1 has one row left, and then item 2 falls too.

    >>> keep_core(np.array([0, 0, 1, 1, 2, 2]), np.array([0, 3, 1, 2, 0, 3]), 2).tolist()
    [True, True, False, False, True, True]
    """
    keep = np.ones(len(users), dtype=bool)
    while True:
        user_counts, item_counts = np.bincount(users[keep]), np.bincount(items[keep])
        fits = (user_counts[users[keep]] >= k) & (item_counts[items[keep]] >= k)
        if fits.all():
            return keep
        keep[keep] = fits


def sort_rows(users: Int64[np.ndarray, "R"], timestamps: Float64[np.ndarray, "R"]) -> Int64[np.ndarray, "R"]:
    """Order rows by user, then time; equal times stay in the order of the source file.

    >>> sort_rows(np.array([1, 0, 1, 0]), np.array([5.0, 9.0, 5.0, 2.0])).tolist()
    [3, 1, 0, 2]
    """
    return np.lexsort((timestamps, users))


def share_newest_first(
    users: Int64[np.ndarray, "R"], timestamps: Float64[np.ndarray, "R"], order: Int64[np.ndarray, "R"]
) -> float:
    """Return the share of users whose rows stand in the file from new to old, among those with more than one time.

    Args:
        users: Sorted, as the timestamps are.
        timestamps: Rising within a user.
        order: Where each row stands in the file.

    User 0 below stands there from new to old, user 1 from old to new; user 2 has one time.

    >>> users, times = np.array([0, 0, 0, 1, 1, 2, 2]), np.array([1.0, 2, 2, 1, 2, 5, 5])
    >>> share_newest_first(users, times, np.array([6, 2, 3, 0, 1, 4, 5]))
    0.5
    """
    is_later = (np.diff(users) == 0) & (np.diff(timestamps) > 0)
    steps = np.bincount(users[1:][is_later])
    steps_back = np.bincount(users[1:][is_later & (np.diff(order) < 0)], minlength=len(steps))
    return float((steps_back == steps)[steps > 0].mean()) if is_later.any() else 0.0


def drop_newest(users: Int64[np.ndarray, "R"], count: int) -> Bool[np.ndarray, "R"]:
    """Mark the rows of every user without the last `count`.

    >>> drop_newest(np.array([0, 0, 0, 1, 2, 2]), 1).tolist()
    [True, True, False, False, True, False]
    """
    return _count_behind(users) >= count


def split_leave_one_out(users: Int64[np.ndarray, "R"]) -> Int8[np.ndarray, "R"]:
    """Make the last row of every user test, the one before validation, the rest training.

    >>> split_leave_one_out(np.array([0, 0, 0, 1, 1, 1, 1])).tolist()
    [0, 1, 2, 0, 0, 1, 2]
    """
    from_end = _count_behind(users)
    return np.select([from_end == 0, from_end == 1], [Part.TEST, Part.VAL], Part.TRAIN).astype(np.int8)


def split_by_time(users: Int64[np.ndarray, "R"], timestamps: Float64[np.ndarray, "R"], quantile: float) -> TimeSplit:
    """Cut at one time for everybody: history lies before it, the target is a user's first row at or after it.

    The cut is the smallest timestamp that is not below the `quantile` of all timestamps. Validation is a
    user's last row before the cut, unless nothing would be left to train on. Rows after a target are unused;
    a user without a row before the cut takes no part.

    Three users below; the cut is 60. User 0 has three rows before it and two from it on. User 1 has one row
    before it, too few for validation. User 2 begins after it.

    >>> users = np.array([0, 0, 0, 0, 0, 1, 1, 2])
    >>> split = split_by_time(users, np.array([10.0, 20, 30, 60, 70, 40, 80, 90]), 0.5)
    >>> split.cut, split.parts.tolist()
    (60.0, [0, 0, 1, 2, 3, 0, 2, 4])
    """
    cut = float(np.quantile(timestamps, quantile, method="higher"))
    is_before = timestamps < cut
    num_before = np.bincount(users, weights=is_before).astype(np.int64)[users]
    position = np.arange(len(users)) - np.searchsorted(users, users)  # rows of the same user ahead
    parts = np.select(
        [num_before == 0, is_before & ((position < num_before - 1) | (num_before == 1)), is_before],
        [Part.NO_HISTORY, Part.TRAIN, Part.VAL],
        np.where(position == num_before, Part.TEST, Part.UNUSED),
    )
    return TimeSplit(parts.astype(np.int8), cut)


def _count_behind(users: Int64[np.ndarray, "R"]) -> Int64[np.ndarray, "R"]:
    """Count the rows of the same user behind each row, in sorted rows."""
    return np.searchsorted(users, users, side="right") - 1 - np.arange(len(users))


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
        """Return the rows of a mask or of positions."""
        return replace(self, **{name: values[rows] for name, values in vars(self).items()})


@dataclass
class Selection:
    """Rows that are left, sorted by user, then time."""

    rows: Rows
    cut: float | None = None
    """Time split: history lies strictly before it; seconds."""
    excluded_rows: dict[str, int] = field(default_factory=dict)
    excluded_users: dict[str, int] = field(default_factory=dict)
    newest_first: float = 0.0
    """Share of users whose rows stand in the file from new to old."""

    def keep(self, kept: Shaped[np.ndarray, "R"], reason: str) -> None:
        """Drop the other rows and count them and the users that are gone with them."""
        rows = self.rows.take(kept)
        if len(rows) < len(self.rows):
            self.excluded_rows[reason] = len(self.rows) - len(rows)
            num_users_gone = len(np.unique(self.rows.users)) - len(np.unique(rows.users))
            self.excluded_users |= {reason: num_users_gone} if num_users_gone else {}
        self.rows = rows


def select_rows(raw: Interactions, config: DataConfig) -> Selection:
    """Apply `min_rating`, `drop_last`, `min_seq_len` or the k-core, and the split, in this order."""
    selection = Selection(
        Rows(raw.users, raw.items, raw.timestamps, np.full(len(raw.users), Part.TRAIN, dtype=np.int8))
    )
    if config.min_rating is not None and raw.ratings is not None:
        selection.keep(raw.ratings >= config.min_rating, "below_min_rating")
    rows = selection.rows
    order = sort_rows(rows.users, rows.timestamps)
    selection.rows = rows.take(order)
    selection.newest_first = share_newest_first(selection.rows.users, selection.rows.timestamps, order)
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
