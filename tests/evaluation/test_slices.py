from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ur4rec.evaluation.slices import (
    COUNT_EDGES,
    LENGTH_EDGES,
    SLICES,
    fixed_groups,
    name_groups,
    popularity_groups,
    quantile_groups,
    slice_title,
)

counts = st.lists(st.integers(0, 20), max_size=40).map(lambda values: np.array(values, dtype=np.int64))


@given(counts)
def test_groups_are_a_partition_in_order(values: NDArray[Any]) -> None:
    for groups in (quantile_groups(values), popularity_groups(values), fixed_groups(values, COUNT_EDGES)):
        positions = np.concatenate([group.positions for group in groups]) if groups else np.array([], dtype=np.int64)
        assert sorted(positions.tolist()) == list(range(len(values)))
        for before, after in pairwise(groups):
            assert before.low <= before.high < after.low <= after.high


@given(counts)
def test_bounds_are_those_of_the_values(values: NDArray[Any]) -> None:
    for group in popularity_groups(values):
        inside = values[group.positions]
        assert (group.low, group.high) == (inside.min(), inside.max())
        assert (group.name == "cold") == (group.high == 0)


def test_distinct_values_give_equal_quarters() -> None:
    groups = quantile_groups(np.arange(100)[::-1])
    assert [(group.name, len(group.positions)) for group in groups] == [("q1", 25), ("q2", 25), ("q3", 25), ("q4", 25)]


def test_equal_values_stay_together() -> None:
    assert [len(group.positions) for group in quantile_groups(np.full(10, 3))] == [10]


def test_every_way_to_part_users_has_a_title_and_is_in_the_docs() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for name, slicing in SLICES.items():
        assert f"`{name}`" in docs
        assert slice_title(name) == slicing.title
    assert slice_title("of a newer release") == "of a newer release"


def test_fixed_groups_begin_at_their_edges_whatever_the_data() -> None:
    values = np.array([0, 1, 4, 5, 9, 10, 29, 30, 1000])
    groups = fixed_groups(values, COUNT_EDGES)
    assert [(group.name, values[group.positions].tolist()) for group in groups] == [
        ("0", [0]),
        ("1-4", [1, 4]),
        ("5-9", [5, 9]),
        ("10-29", [10, 29]),
        ("30+", [30, 1000]),
    ]
    assert [group.name for group in fixed_groups(np.array([3, 70]), COUNT_EDGES)] == ["1-4", "30+"]
    assert fixed_groups(np.array([], dtype=np.int64), COUNT_EDGES) == []


def test_the_names_of_fixed_groups_are_those_of_the_figure() -> None:
    assert name_groups(LENGTH_EDGES) == ("0-4", "5-9", "10-19", "20-49", "50+") == SLICES["history_count"].names
    assert name_groups(COUNT_EDGES) == ("0", "1-4", "5-9", "10-29", "30+") == SLICES["target_count"].names
    assert name_groups((1, 2)) == ("0", "1", "2+")
