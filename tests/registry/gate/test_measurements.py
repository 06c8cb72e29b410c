"""What the gate measures of a model that cannot tell items apart."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ur4rec.columns import ITEM, USER
from ur4rec.data.sequences import Sequences
from ur4rec.registry.gate.measurements import measure_quality


def test_a_model_of_equal_scores_has_the_mean_over_all_places(ring_data: Sequences) -> None:
    """Of each user the unseen items are left, and the discounts of ranks 1 to 10 fall on any of them."""
    rows = np.arange(len(ring_data.test))
    quality = measure_quality(ring_data, rows, lambda users: torch.zeros(len(users), ring_data.num_items + 1))
    left = ring_data.num_items - ring_data.histories("test").lengths[ring_data.test[:, USER]]
    assert quality.ndcg == pytest.approx(sum(1 / np.log2(rank + 1) for rank in range(1, 11)) / left)
    assert quality.coverage == pytest.approx(1)
    assert 0.4 < quality.popularity < 0.6


def repeat_first(data: Sequences, rows: np.ndarray) -> Sequences:
    """The same data, where the targets at some rows are the first items of their users."""
    test, seen = np.array(data.test), data.histories("test")
    test[rows, ITEM] = seen.items[seen.offsets[test[rows, USER]]]
    return replace(data, test=test)


@pytest.mark.parametrize(
    ("excludes_seen", "misses_seen", "expected"), [(True, False, 1.0), (True, True, 0.75), (False, False, 0.5)]
)
def test_what_becomes_of_a_repeated_target(
    ring_data: Sequences, excludes_seen: bool, misses_seen: bool, expected: float
) -> None:
    """A quarter of the targets are repeats; for another quarter an item that was seen scores higher than ten others."""
    rows = np.arange(len(ring_data.test))
    data = repeat_first(ring_data, rows[::4])
    seen, target = data.histories("test"), dict(data.test[:, [USER, ITEM]].tolist())
    confused = set(data.test[1::4, USER].tolist())

    def score(users: np.ndarray) -> torch.Tensor:
        scores = torch.zeros(len(users), data.num_items + 1)
        for row, user in enumerate(users.tolist()):
            had = seen.items[seen.offsets[user] : seen.offsets[user + 1]]
            if user in confused:
                scores[row, torch.from_numpy(had)] = 2.0
            scores[row, target[user]] = 1.0
        return scores

    quality = measure_quality(data, rows, score, excludes_seen, misses_seen)
    if excludes_seen:
        assert quality.ndcg.mean() == pytest.approx(expected)
    else:
        higher = np.array([seen.lengths[user] if user in confused else 0 for user in data.test[:, USER]])
        gain = np.where(higher < 10, 1 / np.log2(higher + 2), 0)
        assert quality.ndcg == pytest.approx(gain)
