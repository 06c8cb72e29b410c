"""The grid on which user texts are written, and the requests at its points.

Letters: R interactions, U users, P snapshots.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int

from ur4rec.data.sequences import Histories
from ur4rec.text.requests import ItemRequest, UserRequest


def compute_grid(histories: Histories, base: int) -> Int[np.ndarray, "P 2"]:
    """Points at which users get a text: after `base`, 2·`base`, 4·`base`, … interactions.

    A point inside a group of equal timestamps moves to the group's end, because the order within a group is
    the order of the source file, not of events. The end of the history ends every group. Points that fall
    together are one point; a user with fewer than `base` interactions has none.

    Args:
        histories: The training prefix of every user.
        base: Interactions behind the first text.

    Returns:
        User index and `as_of` (a text may use interactions `[0, as_of)`), sorted.
    """
    lengths = np.diff(histories.offsets)
    levels = np.zeros(len(lengths), dtype=np.int64)
    for size in _double(base, int(lengths.max(initial=0))):
        levels += lengths >= size
    users = np.repeat(np.arange(len(lengths), dtype=np.int64), levels)
    level = np.arange(len(users)) - np.repeat(np.cumsum(levels) - levels, levels)
    points = move_to_group_ends(np.stack([users, base << level], axis=1), histories)
    is_new = np.ones(len(points), dtype=bool)
    is_new[1:] = (points[1:] != points[:-1]).any(axis=1)
    return points[is_new]


def move_to_group_ends(points: Int[np.ndarray, "P 2"], histories: Histories) -> Int[np.ndarray, "P 2"]:
    """Points inside a group of equal timestamps, at the group's end; the others as they are.

    Args:
        points: User index and `as_of`, at most the length of the user's history.
        histories: The training prefix of every user.

    >>> histories = Histories(np.array([0, 0, 4]), np.array([5, 7, 6, 8]), np.array([10, 20, 20, 30]))
    >>> move_to_group_ends(np.array([[1, 1], [1, 2], [1, 3]]), histories).tolist()
    [[1, 1], [1, 3], [1, 3]]
    """
    starts = histories.offsets[points[:, 0]]
    ends = _find_group_ends(histories)
    as_of = ends[np.searchsorted(ends, starts + points[:, 1])] - starts
    return np.stack([points[:, 0], as_of], axis=1)


def _double(size: int, longest: int) -> Iterator[int]:
    while size <= longest:
        yield size
        size *= 2


def _find_group_ends(histories: Histories) -> Int[np.ndarray, "G"]:
    """Rows after which the user or the timestamp changes, as exclusive ends."""
    rows = len(histories.timestamps)
    is_end = np.zeros(rows + 1, dtype=bool)
    is_end[1:rows] = histories.timestamps[1:] != histories.timestamps[:-1]
    is_end[histories.offsets] = True
    return np.flatnonzero(is_end)


def build_user_requests(
    points: Int[np.ndarray, "P 2"],
    histories: Histories,
    items: Sequence[ItemRequest],
    user_ids: Sequence[str],
) -> Iterator[UserRequest]:
    """The request at each point: the first `as_of` interactions of the user and nothing after them.

    Args:
        points: User index and `as_of`.
        histories: The training prefix that the points lie in.
        items: Request of item index i at position i − 1.
        user_ids: User index → original id.
    """
    for user, as_of in points.tolist():
        start = int(histories.offsets[user])
        visible = slice(start, start + as_of)
        yield UserRequest(
            user_id=user_ids[user],
            items=[items[item - 1] for item in histories.items[visible].tolist()],
            timestamps_s=histories.timestamps[visible].tolist(),
        )
