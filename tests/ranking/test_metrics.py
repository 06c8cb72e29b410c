import math
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import ndcg_score

from ur4rec.ranking.metrics import HIGHEST, METRICS, RANK_METRICS, MetricError, metrics_from_ranks, per_user_metrics

rank_pairs = st.lists(
    st.tuples(st.integers(1, 60), st.integers(0, 60)).map(lambda pair: (pair[0], sum(pair))), min_size=1, max_size=30
)


def exact(*ranks: float) -> NDArray[Any]:
    return np.array([(rank, rank) for rank in ranks], dtype=np.int64)


def gain(name: str, rank: int) -> float:
    kind, _, cutoff = name.partition("@")
    inside = not cutoff or rank <= int(cutoff)
    return {"hit": 1.0, "ndcg": 1 / math.log2(rank + 1), "mrr": 1 / rank}[kind] if inside else 0.0


def test_means_by_hand() -> None:
    metrics = metrics_from_ranks(exact(1, 3, 7, 15))
    assert metrics == pytest.approx(
        {
            "hit@1": 1 / 4,
            "hit@5": 2 / 4,
            "hit@10": 3 / 4,
            "hit@20": 4 / 4,
            "ndcg@5": (1 + 1 / 2) / 4,  # log2(2) = 1, log2(4) = 2
            "ndcg@10": (1 + 1 / 2 + 1 / 3) / 4,  # log2(8) = 3
            "ndcg@20": (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4,  # log2(16) = 4
            "mrr": (1 + 1 / 3 + 1 / 7 + 1 / 15) / 4,
        }
    )


def test_names_and_order() -> None:
    assert tuple(metrics_from_ranks(exact(2))) == METRICS
    assert tuple(per_user_metrics(exact(2))) == METRICS


def test_names_come_from_the_cutoffs() -> None:
    assert METRICS == ("hit@1", "hit@5", "hit@10", "hit@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr")
    assert dict.fromkeys(METRICS, 1.0) == HIGHEST


def test_every_metric_is_in_the_docs() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for metric in RANK_METRICS:
        cutoffs = ", ".join(map(str, metric.cutoffs))
        assert (f"| `{metric.name}@k`, k = {cutoffs} |" if cutoffs else f"| `{metric.name}` |") in docs


def test_the_cutoff_is_inclusive() -> None:
    values = per_user_metrics(exact(9, 10, 11))
    assert values["hit@10"].tolist() == [1.0, 1.0, 0.0]
    assert values["ndcg@10"].tolist() == [1 / np.log2(10.0), 1 / np.log2(11.0), 0.0]


@pytest.mark.parametrize(
    ("competing", "hit", "ndcg"), [(19, 10 / 19, 0.2391), (20, 10 / 20, 0.2272), (10, 1.0, 0.4544)]
)
def test_a_constant_scorer_hits_by_its_share(competing: int, hit: float, ndcg: float) -> None:
    metrics = metrics_from_ranks(np.array([[1, competing]]))
    assert metrics["hit@10"] == pytest.approx(hit)
    assert metrics["ndcg@10"] == pytest.approx(ndcg, abs=1e-4)
    assert metrics["mrr"] == pytest.approx(sum(1 / place for place in range(1, competing + 1)) / competing)


@given(rank_pairs)
def test_a_tie_has_the_mean_over_its_places(pairs: list[tuple[int, int]]) -> None:
    values = per_user_metrics(np.array(pairs))
    for name in METRICS:
        expected = [np.mean([gain(name, rank) for rank in range(first, last + 1)]) for first, last in pairs]
        assert values[name] == pytest.approx(np.array(expected))


@given(st.lists(st.integers(0, 2), min_size=2, max_size=7), st.integers(0, 6))
def test_equals_the_mean_over_all_orders_of_the_items(scores: list[int], target: int) -> None:
    """Every permutation of the items, then a stable sort by score: each order of the tied ones is as likely."""
    target %= len(scores)
    places = [
        1 + sorted(order, key=lambda item: -scores[item]).index(target) for order in permutations(range(len(scores)))
    ]
    higher = sum(score > scores[target] for score in scores)
    ranks = np.array([[higher + 1, higher + scores.count(scores[target])]])
    for name, (value,) in per_user_metrics(ranks).items():
        assert value == pytest.approx(np.mean([gain(name, place) for place in places]))


@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.integers(0, 59))
def test_ndcg_is_that_of_scikit_learn(scores: list[int], target: int) -> None:
    target %= len(scores)
    relevance = np.eye(len(scores))[[target]]
    higher = sum(score > scores[target] for score in scores)
    values = per_user_metrics(np.array([[higher + 1, higher + scores.count(scores[target])]]))
    for k in (5, 10, 20):
        expected = ndcg_score(relevance, np.array([scores], dtype=float), k=k, ignore_ties=False)
        assert values[f"ndcg@{k}"][0] == pytest.approx(expected)


def test_without_ties_no_bit_differs_from_the_gain_of_the_rank() -> None:
    ranks = np.random.default_rng(0).integers(1, 3000, 10_001)
    values = per_user_metrics(exact(*ranks))
    for k in (5, 10, 20):
        assert np.array_equal(values[f"ndcg@{k}"], np.where(ranks <= k, 1 / np.log2(ranks + 1.0), 0.0))
    for k in (1, 5, 10, 20):
        assert np.array_equal(values[f"hit@{k}"], (ranks <= k).astype(float))
    assert np.array_equal(values["mrr"], 1 / ranks)


def test_a_tie_over_a_million_items_keeps_its_digits() -> None:
    value = metrics_from_ranks(np.array([[500_000, 1_000_000]]))["mrr"]
    assert value == pytest.approx(math.fsum(1 / rank for rank in range(500_000, 1_000_001)) / 500_001, rel=1e-9)


@given(rank_pairs)
def test_means_agree_with_values_per_user(pairs: list[tuple[int, int]]) -> None:
    values = per_user_metrics(np.array(pairs))
    assert metrics_from_ranks(np.array(pairs)) == pytest.approx({name: values[name].mean() for name in METRICS})


@pytest.mark.parametrize("bad", [(0, 1), (-1, 3), (3, 2)])
def test_impossible_ranks_are_refused(bad: tuple[int, int]) -> None:
    with pytest.raises(MetricError, match=f"ranks {bad[0]} to {bad[1]} at position 1"):
        per_user_metrics(np.array([(1, 1), bad]))


@pytest.mark.parametrize(
    "ranks",
    [np.ones((2, 3), dtype=np.int64), np.ones((1, 2, 2), dtype=np.int64), np.array([1.0, 2.5]), np.ones((2, 2))],
    ids=["three columns", "three dimensions", "averaged ranks", "no whole numbers"],
)
def test_other_arrays_are_refused(ranks: NDArray[Any]) -> None:
    with pytest.raises(MetricError, match=r"expected whole numbers \[T, 2\]: first, last"):
        metrics_from_ranks(ranks)


def test_no_ranks_are_refused() -> None:
    with pytest.raises(MetricError, match="no user with a target"):
        metrics_from_ranks(np.empty((0, 2), dtype=np.int64))
