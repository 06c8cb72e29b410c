import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ur4rec.evaluation.metrics import METRICS, MetricError, metrics_from_ranks, per_user_metrics

half_ranks = st.lists(st.integers(2, 200).map(lambda doubled: doubled / 2), min_size=1, max_size=30)


def test_means_by_hand():
    metrics = metrics_from_ranks(np.array([1.0, 3.0, 7.0, 15.0]))
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


def test_names_and_order():
    assert tuple(metrics_from_ranks(np.array([2.0]))) == METRICS
    assert tuple(per_user_metrics(np.array([2.0]))) == METRICS


@pytest.mark.parametrize(("rank", "hit"), [(9.5, 1.0), (10.0, 1.0), (10.5, 0.0), (11.0, 0.0)])
def test_cutoff_is_inclusive(rank, hit):
    metrics = metrics_from_ranks(np.array([rank]))
    assert metrics["hit@10"] == hit
    assert metrics["ndcg@10"] == pytest.approx(hit / math.log2(rank + 1))


@given(half_ranks)
def test_equals_a_naive_reference(ranks):
    values = per_user_metrics(np.array(ranks))
    for name in METRICS:
        kind, _, cutoff = name.partition("@")
        for rank, value in zip(ranks, values[name], strict=True):
            inside = not cutoff or rank <= int(cutoff)
            gain = {"hit": 1.0, "ndcg": 1 / math.log2(rank + 1), "mrr": 1 / rank}[kind]
            assert value == pytest.approx(gain if inside else 0.0)


@given(half_ranks)
def test_means_agree_with_values_per_user(ranks):
    values = per_user_metrics(np.array(ranks))
    assert metrics_from_ranks(np.array(ranks)) == pytest.approx({name: values[name].mean() for name in METRICS})


@pytest.mark.parametrize("bad", [0.5, 0.0, -1.0, math.nan, math.inf])
def test_impossible_ranks_are_refused(bad):
    with pytest.raises(MetricError, match="position 1"):
        per_user_metrics(np.array([1.0, bad]))


def test_no_ranks_and_wrong_shapes_are_refused():
    with pytest.raises(MetricError, match="no user with a target"):
        metrics_from_ranks(np.array([]))
    with pytest.raises(MetricError, match="one dimension"):
        metrics_from_ranks(np.ones((2, 2)))
