import numpy as np
import torch

from ur4rec.data.sequences import Histories
from ur4rec.training.windows import Epoch, batches, sample_epoch, shuffled_ties

# User 1: items 1 to 6, the third to fifth tied; user 2: one item; user 3: items 8, 9.
HISTORIES = Histories(
    np.array([0, 0, 6, 7, 9]), np.array([1, 2, 3, 4, 5, 6, 7, 8, 9]), np.array([1, 2, 3, 3, 3, 4, 1, 1, 2])
)
CPU = torch.device("cpu")


def epoch(max_len: int = 3, random_share: float = 0.0, shuffle: bool = False, seed: int = 0) -> Epoch:
    return sample_epoch(HISTORIES, max_len, np.random.default_rng(seed), random_share, shuffle, CPU)


def test_newest_windows_predict_the_next_item() -> None:
    window, targets = epoch().window(torch.tensor([0, 1]))
    assert window.user_ids.tolist() == [1, 3]
    assert window.items.tolist() == [[3, 4, 5], [8, 0, 0]]
    assert targets.tolist() == [[4, 5, 6], [9, 0, 0]]
    assert window.starts.tolist() == [2, 0]


def test_random_windows_start_anywhere() -> None:
    starts = {int(epoch(random_share=1.0, seed=seed).starts[0]) for seed in range(30)}
    assert starts == {0, 1, 2}


def test_only_ties_change_places() -> None:
    orders = {tuple(shuffled_ties(HISTORIES, np.random.default_rng(seed))) for seed in range(60)}
    assert len(orders) == 6
    assert {order[:2] + order[5:] for order in orders} == {(0, 1, 5, 6, 7, 8)}


def test_batches_hold_every_window_once() -> None:
    rows = torch.cat(list(batches(epoch(), 1, np.random.default_rng(0))))
    assert sorted(rows.tolist()) == [0, 1]
