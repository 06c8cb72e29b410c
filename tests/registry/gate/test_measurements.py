"""What the gate measures of a model that cannot tell items apart."""

import numpy as np
import pytest
import torch

from ur4rec.columns import USER
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
