"""What is counted of lists whose items tie, and metrics worked out by hand."""

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ur4rec.data.sequences import Histories, Sequences
from ur4rec.ranking import lists
from ur4rec.ranking.lists import LIST_METRICS, Coverage, ListMetric, Novelty, PopularityBias, find_lists
from ur4rec.ranking.ranks import rank_users

NONE_SEEN = Histories(np.array([0, 0, 0, 0]), np.empty(0, np.int64), np.empty(0, np.int64))
SCORES = torch.tensor([[9.0, 3, 2, 2, 2, 1], [9.0, 2, 2, 0, 0, -torch.inf]])  # column 0 is padding
LENGTH = 3


def make_data(num_items: int, *train: tuple[int, int], num_users: int = 4) -> Sequences:
    """A data set of which some users have some items in training."""
    rows = np.array([(user, item, 0) for user, item in train], dtype=np.int64).reshape(-1, 3)
    none = np.empty((0, 3), np.int64)
    return Sequences("toy", rows, none, none, ("",) * (num_users + 1), ("",) * (num_items + 1), pd.DataFrame(), "d")


def count(
    scores: torch.Tensor, seen: Sequence[tuple[int, int]] = (), length: int = LENGTH
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Expected number of lists of each item, and the probability that none holds it, user by user."""
    mask = torch.zeros_like(scores, dtype=torch.bool)
    mask[[user for user, _ in seen], [item for _, item in seen]] = True
    data = make_data(scores.shape[1] - 1)
    coverage, bias = Coverage(data), PopularityBias(data)
    for row in range(len(scores)):
        for metric in (coverage, bias):
            metric.add(find_lists(scores[[row]], mask[[row]], length))
    return bias.counts, coverage.missed


def lists_of(scores: list[float]) -> list[list[int]]:
    """The top of every order of the items, then sorted by score."""
    orders = permutations(range(1, len(scores)))
    return [sorted(order, key=lambda item: -scores[item])[:LENGTH] for order in orders]


def test_tied_items_share_the_last_places_of_a_list() -> None:
    tops = [lists_of(row.tolist()) for row in SCORES]
    chances = np.array([[np.mean([item in top for top in each]) for item in range(1, 6)] for each in tops])
    counts, missed = count(SCORES)
    assert counts[1:] == pytest.approx(chances.sum(0))
    assert missed[1:] == pytest.approx((1 - chances).prod(0))
    assert counts[0] == 0


def test_without_ties_an_item_is_there_or_not() -> None:
    counts, missed = count(torch.tensor([[9.0, 4, 3, 2, 1], [9.0, 4, 1, 2, 3]]), length=2)
    assert counts[1:].tolist() == [2, 1, 0, 1]
    assert missed[1:].tolist() == [0, 0, 1, 0]


def test_seen_items_and_those_of_minus_infinity_are_in_no_list() -> None:
    counts, _ = count(torch.tensor([[9.0, 0, 5, 0, -torch.inf, -torch.inf]]), seen=[(0, 2)])
    assert counts[1:].tolist() == [1, 0, 1, 0, 0]


def test_a_constant_scorer_covers_the_catalogue_evenly() -> None:
    counts, missed = count(torch.zeros(2, 11), length=5)
    assert counts[1:] == pytest.approx(np.full(10, 1.0))
    assert missed[1:] == pytest.approx(np.full(10, 0.25))


def test_a_catalogue_shorter_than_a_list_is_in_it_as_a_whole() -> None:
    counts, _ = count(torch.tensor([[9.0, 1, 2]]))
    assert counts.tolist() == [0, 1, 1]


@given(st.data())
def test_equals_a_dense_reference_and_has_a_list_s_length(data: st.DataObject) -> None:
    num_users, num_items = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 9))
    values = st.sampled_from([0.0, 1.0, 2.0, float("-inf"), float("inf")])
    rows = st.lists(st.lists(values, min_size=num_items + 1, max_size=num_items + 1), min_size=num_users)
    scores = torch.tensor(data.draw(rows))
    seen = torch.tensor(
        data.draw(
            st.lists(
                st.lists(st.booleans(), min_size=num_items + 1, max_size=num_items + 1),
                min_size=len(scores),
                max_size=len(scores),
            )
        )
    )
    found = find_lists(scores, seen, LENGTH)
    assert (np.diff(found.users * scores.shape[1] + found.items) > 0).all()
    dense = np.zeros(scores.shape)
    dense[found.users, found.items] = found.chances
    left = scores.masked_fill(seen, float("-inf"))[:, 1:].numpy()
    length = min(LENGTH, num_items)
    for own, row in zip(dense[:, 1:], left, strict=True):
        last = np.sort(row)[-length]
        share = (length - (row > last).sum()) / (row == last).sum()
        expected = np.where(row > last, 1.0, np.where((row == last), share, 0.0)) * (row > -np.inf)
        assert own == pytest.approx(expected)
        assert own.sum() == pytest.approx(min(length, (row > -np.inf).sum()))


def test_metrics_by_hand() -> None:
    """Of 4 users 4 have item 1, 2 have item 2 (one of them twice) and none has items 3 and 4."""
    data = make_data(4, (1, 1), (2, 1), (3, 1), (4, 1), (1, 2), (1, 2), (2, 2))
    coverage, novelty, bias = Coverage(data), Novelty(data), PopularityBias(data)
    nothing = torch.zeros(2, 5, dtype=torch.bool)
    found = find_lists(torch.tensor([[0.0, 9, 8, 1, 1], [0.0, 9, 1, 8, 1]]), nothing, 2)
    for metric in (coverage, novelty, bias):
        metric.add(found)
    assert coverage.value() == 3 / 4  # items 1, 2 and 3
    assert novelty.value() == (0 + 1 + 0 + 2) / 4  # log2(4 / 4), log2(4 / 2), and log2(4 / 1) for what nobody has
    percentiles = [7 / 8, 5 / 8, 2 / 8, 2 / 8]  # halves of equals: (3 + 4) / 8, (2 + 3) / 8, (0 + 2) * 2 / 8 / 2
    assert bias.value() == pytest.approx((percentiles[0] * 2 + percentiles[1] + percentiles[2]) / 4)
    assert bias.user_sums().tolist() == [[12 / 8, 2.0], [9 / 8, 2.0]]
    assert coverage.user_sums() is None


def test_random_lists_have_the_middle_percentile() -> None:
    data = make_data(50, *((1 + user % 4, item) for item in range(1, 51) for user in range(item)))
    bias = PopularityBias(data)
    bias.add(find_lists(torch.zeros(3, 51), torch.zeros(3, 51, dtype=torch.bool)))
    assert bias.value() == pytest.approx(0.5)


@pytest.mark.parametrize("metric", LIST_METRICS)
def test_neither_the_batch_nor_the_bound_of_memory_changes_a_bit(
    metric: type[ListMetric], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    data = make_data(30, *((int(user), int(item)) for user, item in rng.integers(1, (5, 31), (60, 2))))
    scores = torch.from_numpy(rng.integers(0, 4, (41, 31)).astype(np.float32))
    targets = np.array([(user, 1, 0) for user in range(1, 41)])
    seen = Histories(np.array([0, *range(41)]), rng.integers(1, 31, 40), np.zeros(40, np.int64))
    found = []
    for batch_size in (1, 7, 64):
        own = metric(data)
        monkeypatch.setattr(lists, "ENTRIES_AT_ONCE", 31 * batch_size)
        rank_users(lambda users: scores[users], targets, seen, batch_size, lists=[own])
        sums = own.user_sums()
        found.append((own.value(), None if sums is None else sums.tolist()))
    assert found[0] == found[1] == found[2]


def test_lists_hold_what_was_seen_where_nothing_is_excluded() -> None:
    seen = Histories(np.array([0, 0, 2]), np.array([11, 12]), np.arange(2))
    for excluded, expected in ((seen, list(range(1, 11))), (None, list(range(3, 13)))):
        coverage = Coverage(make_data(12))
        rank_users(lambda _: torch.arange(13.0)[None], np.array([(1, 5, 0)]), excluded, 8, lists=[coverage])
        assert np.flatnonzero(coverage.missed == 0).tolist() == expected


def test_lists_are_of_the_whole_catalogue_where_only_candidates_are_ranked() -> None:
    coverage, targets = Coverage(make_data(12)), np.array([(1, 5, 0)])
    scores = torch.arange(13.0)[None]
    ranks = rank_users(lambda _: scores, targets, NONE_SEEN, 8, np.array([[5, 4]]), lists=[coverage])
    assert ranks.tolist() == [[1, 1]]
    assert coverage.missed.tolist() == [1, 1, 1, *[0] * 10]
    assert coverage.value() == pytest.approx(10 / 12)


def test_every_metric_has_its_own_name_and_meaning_and_is_in_the_docs() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert len({metric.name for metric in LIST_METRICS}) == len(LIST_METRICS)
    for metric in LIST_METRICS:
        assert f"| `{metric.name}` |" in docs
        assert len(metric.meaning) > 20
