"""The split rules against a slow implementation that reads like their definition."""

from __future__ import annotations

import doctest

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ur4rec.data import selection
from ur4rec.data.selection import (
    Part,
    drop_newest,
    keep_core,
    keep_long_users,
    sort_rows,
    split_by_time,
    split_leave_one_out,
)

ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=60)
TRAIN, VAL, TEST, UNUSED, NO_HISTORY = Part


def to_columns(rows: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    users, items, timestamps = np.array(rows, dtype=np.int64).T
    return users, items, timestamps.astype(np.float64)


@given(ROWS)
def test_sorting_is_stable(rows: list[tuple[int, int, int]]) -> None:
    users, _, timestamps = to_columns(rows)
    expected = sorted(range(len(rows)), key=lambda row: (users[row], timestamps[row], row))
    assert sort_rows(users, timestamps).tolist() == expected


@given(ROWS)
def test_leave_one_out_takes_the_last_two_of_every_user(rows: list[tuple[int, int, int]]) -> None:
    users = np.sort(to_columns(rows)[0])
    parts = split_leave_one_out(users)
    for user in set(users.tolist()):
        expected = ([TRAIN] * len(users) + [VAL, TEST])[-(users == user).sum() :]
        assert parts[users == user].tolist() == expected


@given(ROWS, st.integers(0, 4))
def test_the_newest_rows_of_every_user_are_dropped(rows: list[tuple[int, int, int]], count: int) -> None:
    users = np.sort(to_columns(rows)[0])
    kept = drop_newest(users, count)
    for user in set(users.tolist()):
        num_rows = (users == user).sum()
        assert kept[users == user].tolist() == [place < num_rows - count for place in range(num_rows)]


@given(ROWS, st.sampled_from([0.1, 0.5, 0.9]))
def test_time_split_follows_its_definition(rows: list[tuple[int, int, int]], quantile: float) -> None:
    users, _, timestamps = to_columns(rows)
    order = sort_rows(users, timestamps)
    users, timestamps = users[order], timestamps[order]
    split = split_by_time(users, timestamps, quantile)
    assert split.cut in timestamps
    for user in set(users.tolist()):
        mine = users == user
        num_before, num_after = (timestamps[mine] < split.cut).sum(), (timestamps[mine] >= split.cut).sum()
        history = [TRAIN] * (num_before - 1) + [VAL] if num_before > 1 else [TRAIN] * num_before
        future = [TEST, *[UNUSED] * (num_after - 1)] if num_after else []
        assert split.parts[mine].tolist() == (history + future if num_before else [NO_HISTORY] * mine.sum())


def test_equal_times_are_never_cut_apart() -> None:
    users, timestamps = np.zeros(6, dtype=np.int64), np.array([1.0, 5, 5, 5, 5, 9])
    split = split_by_time(users, timestamps, 0.5)
    assert split.cut == 5
    assert split.parts.tolist() == [TRAIN, TEST, UNUSED, UNUSED, UNUSED, UNUSED]


@given(ROWS, st.integers(1, 4))
def test_core_is_what_repeated_removal_leaves(rows: list[tuple[int, int, int]], k: int) -> None:
    users, items, _ = to_columns(rows)
    left = list(range(len(rows)))
    while True:
        kept = [row for row in left if sum(users[row] == users[left]) >= k and sum(items[row] == items[left]) >= k]
        if kept == left:
            break
        left = kept
    assert np.flatnonzero(keep_core(users, items, k)).tolist() == left


def test_nothing_in_nothing_out() -> None:
    nothing = np.empty(0, dtype=np.int64)
    assert keep_long_users(nothing, 3).tolist() == []
    assert keep_core(nothing, nothing, 3).tolist() == []


def test_the_examples_hold() -> None:
    outcome = doctest.testmod(selection)
    assert outcome.attempted > 0
    assert outcome.failed == 0
