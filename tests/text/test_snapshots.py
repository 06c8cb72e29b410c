import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ur4rec.data.sequences import Histories
from ur4rec.text.requests import ItemRequest
from ur4rec.text.snapshots import build_user_requests, compute_grid, covered_share


def make_histories(*timestamps: list[int]) -> Histories:
    """Users 1, 2, … with the given times; the items count up from 1."""
    lengths = [0, *map(len, timestamps)]
    flat = [time for user in timestamps for time in user]
    return Histories(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items=np.arange(1, len(flat) + 1, dtype=np.int64),
        timestamps=np.array(flat, dtype=np.int64),
    )


def compute_grid_slowly(user: list[int], base: int) -> list[int]:
    points = []
    size = base
    while size <= len(user):
        end = size
        while end < len(user) and user[end] == user[end - 1]:
            end += 1
        points.append(end)
        size *= 2
    return sorted(set(points))


@pytest.mark.parametrize(
    ("user", "as_of"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], [2, 4, 8]),
        ([1, 2, 2, 3, 4, 4, 4, 5, 6], [3, 4, 8]),
        ([1, 2, 2, 2, 2, 3], [5]),
        ([1, 1, 1], [3]),
        ([1, 2], [2]),
        ([1], []),
        ([], []),
    ],
)
def test_points_double_and_move_to_the_end_of_their_group(user: list[int], as_of: list[int]) -> None:
    others = [5, 5, 5, 5]
    grid = compute_grid(make_histories(others, user, others), base=2)
    assert grid.tolist() == [[1, 4], *([2, point] for point in as_of), [3, 4]]


@given(st.lists(st.lists(st.integers(0, 12), max_size=45).map(sorted), max_size=6), st.integers(1, 11))
def test_grid_equals_its_definition(users: list[list[int]], base: int) -> None:
    grid = compute_grid(make_histories(*users), base)
    expected = [[user, end] for user, times in enumerate(users, 1) for end in compute_grid_slowly(times, base)]
    assert grid.tolist() == expected


def test_growing_histories_keep_every_point_that_the_end_did_not_cut() -> None:
    before = compute_grid(make_histories([1, 2, 3, 4, 5, 5]), base=2)
    after = compute_grid(make_histories([1, 2, 3, 4, 5, 5, 6, 7, 8, 8]), base=2)
    assert before.tolist() == [[1, 2], [1, 4]]
    assert after.tolist() == [[1, 2], [1, 4], [1, 8]]
    cut = compute_grid(make_histories([1, 2, 2]), base=2)
    grown = compute_grid(make_histories([1, 2, 2, 2]), base=2)
    assert (cut.tolist(), grown.tolist()) == ([[1, 3]], [[1, 4]])


def test_requests_hold_the_first_interactions_and_no_other() -> None:
    histories = make_histories([10, 20], [1, 2, 3, 4])
    items = [ItemRequest(str(index), f"T{index}") for index in range(1, 7)]
    points = np.array([[1, 2], [2, 3]])
    first, second = build_user_requests(points, histories, items, ("", "a", "b"))
    assert (first.user_id, first.as_of, second.user_id, second.as_of) == ("a", 2, "b", 3)
    assert [item.item_id for item in second.items] == ["3", "4", "5"]
    assert list(second.timestamps_s) == [1, 2, 3]


@given(st.lists(st.lists(st.integers(0, 6), max_size=14).map(sorted), min_size=1, max_size=12), st.integers(1, 11))
def test_the_share_is_that_of_the_users_in_the_grid_whatever_the_ties(users: list[list[int]], base: int) -> None:
    histories = make_histories(*users)
    lengths = histories.lengths[1:]
    in_grid = len(np.unique(compute_grid(histories, base)[:, 0])) / len(users)
    assert covered_share(lengths, base) == pytest.approx(in_grid)
