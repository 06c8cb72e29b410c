"""The grid of points at which user texts are written, and the requests at these points.

P is the number of points, U that of users.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int

from ur4rec.data.sequences import Histories
from ur4rec.text.requests import ItemRequest, UserRequest


def compute_grid(histories: Histories, base: int) -> Int[np.ndarray, "P 2"]:
    """Return the points at which users get a text: after `base`, 2·`base`, 4·`base`, … interactions.

    A point inside a group of equal timestamps moves to the group's end, because the order within a group is that of
    the source file and not of the events. The end of the history ends every group. Points that fall together become
    one, and a user with fewer than `base` interactions has none.

    Args:
        histories: The training prefix of every user.
        base: Number of interactions behind the first text.

    Returns:
        User index and `as_of`, sorted; a text may use the interactions `[0, as_of)`.
    """
    longest = int(histories.lengths.max(initial=0))
    sizes = base << np.arange((longest // base).bit_length())
    levels = np.searchsorted(sizes, histories.lengths, side="right")
    users = np.repeat(np.arange(len(levels)), levels)
    level = np.arange(len(users)) - np.repeat(np.cumsum(levels) - levels, levels)
    points = move_to_group_ends(np.stack([users, sizes[level]], axis=1), histories)
    is_new = np.ones(len(points), dtype=bool)
    is_new[1:] = (points[1:] != points[:-1]).any(axis=1)
    return points[is_new]


def move_to_group_ends(points: Int[np.ndarray, "P 2"], histories: Histories) -> Int[np.ndarray, "P 2"]:
    """Move points inside a group of equal timestamps to the group's end, and leave the others as they are.

    Args:
        points: User index and `as_of`, at most the length of the user's history.
        histories: The training prefix of every user.

    >>> histories = Histories(np.array([0, 0, 4]), np.array([5, 7, 6, 8]), np.array([10, 20, 20, 30]))
    >>> move_to_group_ends(np.array([[1, 1], [1, 2], [1, 3]]), histories).tolist()
    [[1, 1], [1, 3], [1, 3]]
    """
    rows = len(histories.timestamps)
    is_end = np.zeros(rows + 1, dtype=bool)
    is_end[1:rows] = histories.timestamps[1:] != histories.timestamps[:-1]
    is_end[histories.offsets] = True
    ends = np.flatnonzero(is_end)
    starts = histories.offsets[points[:, 0]]
    as_of = ends[np.searchsorted(ends, starts + points[:, 1])] - starts
    return np.stack([points[:, 0], as_of], axis=1)


def build_user_requests(
    points: Int[np.ndarray, "P 2"],
    histories: Histories,
    items: Sequence[ItemRequest],
    user_ids: Sequence[str],
) -> Iterator[UserRequest]:
    """Yield the request at each point: the first `as_of` interactions of the user and nothing after them.

    Args:
        points: User index and `as_of`.
        histories: The training prefix of every user.
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


def covered_share(lengths: Int[np.ndarray, "U"], base: int) -> float:
    """Return the share of users that have a text; 1 where there are no users.

    >>> covered_share(np.array([1, 2, 3, 10]), base=3)
    0.5
    """
    return float(np.mean(lengths >= base)) if len(lengths) else 1.0
