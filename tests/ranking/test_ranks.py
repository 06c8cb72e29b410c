from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ur4rec.data.sequences import Histories
from ur4rec.ranking.ranks import ScoreError, rank_users, tied_ranks

SCORES = [9.0, 5.0, 4.0, 4.0, 4.0, 1.0]  # column 0 is padding


def rank_one(target: int, excluded: tuple[int, ...] = (), scores: list[float] = SCORES) -> tuple[int, int]:
    mask = torch.zeros(1, len(scores), dtype=torch.bool)
    mask[0, list(excluded)] = True
    low, high = tied_ranks(torch.tensor([scores]), torch.tensor([target]), mask)[0].tolist()
    return low, high


def make_histories(*items: Sequence[int]) -> Histories:
    offsets = np.cumsum([0, 0, *map(len, items)])
    flat = np.array([item for history in items for item in history], dtype=np.int64)
    return Histories(offsets, flat, np.arange(len(flat)))


def make_targets(*pairs: tuple[int, int]) -> NDArray[Any]:
    return np.array([(user, item, 0) for user, item in pairs], dtype=np.int64)


@pytest.mark.parametrize(
    ("target", "excluded", "ranks"),
    [
        (1, (), (1, 1)),
        (3, (), (2, 4)),  # one higher, two equal others
        (5, (), (5, 5)),
        (3, (1,), (1, 3)),
        (3, (1, 2), (1, 2)),
        (3, (1, 2, 4), (1, 1)),
        (3, (3,), (2, 4)),  # the target competes although it was seen
    ],
)
def test_ranks_by_hand(target: int, excluded: tuple[int, ...], ranks: tuple[int, int]) -> None:
    assert rank_one(target, excluded) == ranks


def test_all_equal_scores_give_every_place() -> None:
    assert rank_one(2, scores=[0.0] * 8) == (1, 7)


def test_infinite_scores_tie_like_others() -> None:
    low, high = float("-inf"), float("inf")
    assert rank_one(1, scores=[0.0, low, low, 1.0]) == (2, 3)
    assert rank_one(1, scores=[0.0, high, high, 1.0]) == (1, 2)


def test_padding_never_competes() -> None:
    assert rank_one(1, scores=[float("nan"), 5.0, 4.0]) == (1, 1)
    assert rank_one(2, scores=[float("inf"), 5.0, 4.0]) == (2, 2)


@given(st.data())
def test_equals_a_naive_reference(data: st.DataObject) -> None:
    num_items, num_users = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 5))
    row = st.lists(st.integers(0, 3).map(float), min_size=num_items + 1, max_size=num_items + 1)
    mask = st.lists(st.booleans(), min_size=num_items + 1, max_size=num_items + 1)
    scores = data.draw(st.lists(row, min_size=num_users, max_size=num_users))
    excluded = data.draw(st.lists(mask, min_size=num_users, max_size=num_users))
    targets = data.draw(st.lists(st.integers(1, num_items), min_size=num_users, max_size=num_users))
    expected = []
    for user, target in enumerate(targets):
        others = [i for i in range(1, num_items + 1) if i != target and not excluded[user][i]]
        higher = sum(scores[user][i] > scores[user][target] for i in others)
        equal = sum(scores[user][i] == scores[user][target] for i in others)
        expected.append([1 + higher, 1 + higher + equal])
    ranks = tied_ranks(torch.tensor(scores), torch.tensor(targets), torch.tensor(excluded))
    assert ranks.dtype == torch.int64
    assert ranks.tolist() == expected


def test_inputs_are_left_alone() -> None:
    excluded = torch.zeros(1, 6, dtype=torch.bool)
    tied_ranks(torch.tensor([SCORES]), torch.tensor([3]), excluded)
    assert not excluded.any()


@pytest.mark.parametrize("target", [0, 6, -1])
def test_target_outside_the_catalogue_is_refused(target: int) -> None:
    with pytest.raises(ScoreError, match=f"row 0: target item index {target}, expected 1 to 5"):
        rank_one(target)


def test_rank_users_excludes_what_each_user_has_seen() -> None:
    seen = make_histories([1], [2, 3], [])
    targets = make_targets((1, 3), (2, 4), (3, 3))
    ranks = rank_users(lambda users: torch.tensor([SCORES]).expand(len(users), -1), targets, seen, batch_size=2)
    assert ranks.tolist() == [[1, 3], [2, 2], [2, 4]]


def test_rank_users_lets_all_compete_where_nothing_counts_as_seen() -> None:
    # By hand: item 1 has 5, items 2 to 4 have 4 each, item 5 has 1.
    targets = make_targets((1, 3), (2, 4), (3, 1))
    ranks = rank_users(lambda users: torch.tensor([SCORES]).expand(len(users), -1), targets, None, batch_size=2)
    assert ranks.tolist() == [[2, 4], [2, 4], [1, 1]]


def test_rank_users_ranks_a_target_that_was_seen_before() -> None:
    ranks = rank_users(lambda _: torch.tensor([SCORES]), make_targets((1, 1)), make_histories([1, 2]), batch_size=4)
    assert ranks.tolist() == [[1, 1]]


def test_rank_users_asks_for_bounded_batches_in_order_and_without_gradients() -> None:
    asked = []

    def scorer(users: NDArray[Any]) -> torch.Tensor:
        assert not torch.is_grad_enabled()
        asked.append(users.tolist())
        return torch.zeros(len(users), 4)

    targets = make_targets(*[(user, 1) for user in (5, 3, 1, 2, 4)])
    assert rank_users(scorer, targets, make_histories(*[[]] * 5), batch_size=2).tolist() == [[1, 3]] * 5
    assert asked == [[5, 3], [1, 2], [4]]


def test_batch_size_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.integers(0, 5, (21, 12)).astype(np.float32))
    seen = make_histories(*[rng.choice(np.arange(1, 12), size=3, replace=False).tolist() for _ in range(20)])
    targets = make_targets(*[(user, int(rng.integers(1, 12))) for user in range(1, 21)])
    ranks = [rank_users(lambda users: scores[users], targets, seen, batch_size) for batch_size in (1, 7, 50)]
    assert np.array_equal(ranks[0], ranks[1])
    assert np.array_equal(ranks[0], ranks[2])


def test_targets_may_be_a_read_only_memory_map(tmp_path: Path) -> None:
    np.save(tmp_path / "targets.npy", make_targets((1, 3)))
    targets = np.load(tmp_path / "targets.npy", mmap_mode="r")
    assert rank_users(lambda _: torch.tensor([SCORES]), targets, make_histories([]), batch_size=8).tolist() == [[2, 4]]


def test_no_targets_give_no_ranks() -> None:
    assert rank_users(lambda _: torch.zeros(0, 3), np.zeros((0, 3), np.int64), make_histories([]), 8).shape == (0, 2)


def test_nan_names_the_user_and_the_item() -> None:
    scores = torch.tensor([SCORES] * 3)
    scores[2, 4] = float("nan")
    targets = make_targets((4, 1), (6, 1), (7, 1))
    with pytest.raises(ScoreError, match="user index 7: the score of item index 4 is NaN"):
        rank_users(lambda _: scores, targets, make_histories(*[[]] * 7), batch_size=8)


@pytest.mark.parametrize("shape", [(2, 6), (6,), (1, 1, 6)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ScoreError, match="for 1 users starting with user index 1"):
        rank_users(lambda _: torch.zeros(shape), make_targets((1, 1)), make_histories([]), batch_size=8)


def test_too_few_columns_are_refused() -> None:
    with pytest.raises(ScoreError, match="user index 2 has seen item index 9"):
        rank_users(lambda _: torch.zeros(2, 6), make_targets((1, 1), (2, 1)), make_histories([3], [4, 9]), batch_size=8)
