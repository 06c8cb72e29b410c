import numpy as np
import pytest
import torch

from ur4rec.data.sequences import Histories
from ur4rec.training.windows import Epoch, batches, count_windows, sample_epoch, shuffled_ties

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


def tile(random_share: float, seed: int = 0, max_len: int = 2) -> Epoch:
    return sample_epoch(HISTORIES, max_len, np.random.default_rng(seed), random_share, False, CPU, "all")


def test_windows_end_to_end_end_with_the_prefix() -> None:
    epoch = tile(random_share=0.0)
    window, targets = epoch.window(torch.arange(4))
    assert epoch.users.tolist() == [1, 1, 1, 3]
    assert epoch.starts.tolist() == [0, 1, 3, 0]
    assert window.items.tolist() == [[1, 0], [2, 3], [4, 5], [8, 0]]
    assert targets.tolist() == [[2, 0], [3, 4], [5, 6], [9, 0]]
    assert epoch.before().lengths.tolist() == [0, 1, 3, 0]


def test_their_borders_are_drawn_anew() -> None:
    assert {tuple(tile(1.0, seed).starts.tolist()) for seed in range(30)} == {(0, 1, 3, 0), (0, 2, 4, 0)}


@pytest.mark.parametrize("max_len", [1, 2, 3, 7, 40, 500])
def test_every_interaction_but_the_first_is_a_target_once(max_len: int) -> None:
    rng = np.random.default_rng(max_len)
    lengths = np.concatenate([[0, 0, 1, 2], rng.integers(1, 90, 20), [801]])
    histories = Histories(
        np.concatenate([[0], lengths.cumsum()]), np.arange(lengths.sum()) + 1, np.arange(lengths.sum())
    )
    first = histories.offsets[:-1][lengths > 0]
    for share in (0.0, 0.5, 1.0):
        epoch = sample_epoch(histories, max_len, rng, share, False, CPU, "all")
        assert len(epoch.users) == count_windows(histories, max_len, "all")
        targets = epoch.window(torch.arange(len(epoch.users)))[1]
        assert sorted(targets[targets > 0].tolist()) == np.delete(histories.items, first).tolist()
        assert bool((epoch.lengths >= 1).all())
        assert bool((epoch.lengths <= max_len).all())
