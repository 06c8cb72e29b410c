"""What the gate counts of lists whose items tie."""

from itertools import permutations

import numpy as np
import pytest
import torch

from ur4rec.columns import USER
from ur4rec.data.sequences import Histories
from ur4rec.registry.gate.measurements import ListCounter, measure_quality

NONE_SEEN = Histories(np.array([0, 0, 0, 0]), np.empty(0, np.int64), np.empty(0, np.int64))
SCORES = torch.tensor([[9.0, 3, 2, 2, 2, 1], [9.0, 2, 2, 0, 0, -torch.inf]])  # column 0 is padding
LENGTH = 3


def count(scores, seen=NONE_SEEN, k=LENGTH):
    counter = ListCounter(lambda users: scores[users - 1], seen, scores.shape[1] - 1, k)
    for user in range(1, len(scores) + 1):
        counter(np.array([user]))
    return counter


def lists_of(scores):
    """The top of every order of the items, then sorted by score."""
    orders = permutations(range(1, len(scores)))
    return [sorted(order, key=lambda item: -scores[item])[:LENGTH] for order in orders]


def test_tied_items_share_the_last_places_of_a_list():
    lists = [lists_of(row.tolist()) for row in SCORES]
    chances = np.array([[np.mean([item in top for top in each]) for item in range(1, 6)] for each in lists])
    counter = count(SCORES)
    assert counter.counts[1:] == pytest.approx(chances.sum(0))
    assert counter.missed[1:] == pytest.approx((1 - chances).prod(0))
    assert counter.counts[0] == 0


def test_without_ties_an_item_is_there_or_not():
    counter = count(torch.tensor([[9.0, 4, 3, 2, 1], [9.0, 4, 1, 2, 3]]), k=2)
    assert counter.counts[1:].tolist() == [2, 1, 0, 1]
    assert counter.missed[1:].tolist() == [0, 0, 1, 0]


def test_seen_items_and_those_of_minus_infinity_are_in_no_list():
    seen = Histories(np.array([0, 0, 1]), np.array([2]), np.array([0]))
    counter = count(torch.tensor([[9.0, 0, 5, 0, -torch.inf, -torch.inf]]), seen)
    assert counter.counts[1:].tolist() == [1, 0, 1, 0, 0]


def test_a_constant_scorer_covers_the_catalogue_evenly():
    counter = count(torch.zeros(2, 11), k=5)
    assert counter.counts[1:] == pytest.approx(np.full(10, 1.0))
    assert counter.missed[1:] == pytest.approx(np.full(10, 0.25))


def test_a_model_of_equal_scores_has_the_mean_over_all_places(ring_data):
    """Of each user the unseen items are left, and the discounts of ranks 1 to 10 fall on any of them."""
    rows = np.arange(len(ring_data.test))
    quality = measure_quality(ring_data, rows, lambda users: torch.zeros(len(users), ring_data.num_items + 1))
    left = ring_data.num_items - ring_data.histories("test").lengths[ring_data.test[:, USER]]
    assert quality.ndcg == pytest.approx(sum(1 / np.log2(rank + 1) for rank in range(1, 11)) / left)
    assert quality.coverage == pytest.approx(1)
    assert 0.4 < quality.popularity < 0.6
