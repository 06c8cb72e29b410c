"""Ranking metrics of one relevant item per user, computed from its rank."""

from __future__ import annotations

import numpy as np

HIT_CUTOFFS = (1, 5, 10, 20)
NDCG_CUTOFFS = (5, 10, 20)
METRICS = ("hit@1", "hit@5", "hit@10", "hit@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr")


class MetricError(ValueError):
    """Ranks that no metric can be computed from."""


def per_user_metrics(ranks: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric of `METRICS` for every user.

    With a single relevant item at `rank`: `hit@k = [rank <= k]`, `ndcg@k = [rank <= k] / log2(rank + 1)`
    (Järvelin & Kekäläinen 2002, gain 1, ideal DCG 1) and `mrr = 1 / rank`.

    Args:
        ranks: Rank of each user's target from 1 (best), `[T]`; ties make it a multiple of one half.

    Returns:
        Metric name → float64 values `[T]`, in the order of `METRICS`.

    Raises:
        MetricError: A rank is not a finite number of at least 1.

    >>> {name: values.tolist() for name, values in per_user_metrics(np.array([1.0, 3.0])).items()}["ndcg@5"]
    [1.0, 0.5]
    """
    ranks = np.asarray(ranks, dtype=np.float64)
    _check(ranks)
    discounts = 1.0 / np.log2(ranks + 1.0)
    values = {f"hit@{k}": (ranks <= k).astype(np.float64) for k in HIT_CUTOFFS}
    values |= {f"ndcg@{k}": np.where(ranks <= k, discounts, 0.0) for k in NDCG_CUTOFFS}
    return values | {"mrr": 1.0 / ranks}


def metrics_from_ranks(ranks: np.ndarray) -> dict[str, float]:
    """Mean over users of every metric of `METRICS`.

    Raises:
        MetricError: There are no ranks, or one is not a finite number of at least 1.

    >>> metrics = metrics_from_ranks(np.array([1.0, 4.0, 40.0, 2.5]))
    >>> metrics["hit@1"], metrics["hit@5"], round(metrics["mrr"], 5)
    (0.25, 0.75, 0.41875)
    """
    if len(ranks) == 0:
        raise MetricError("no ranks to average: there is no user with a target; use a data set or split that has")
    return {name: float(values.mean()) for name, values in per_user_metrics(ranks).items()}


def _check(ranks: np.ndarray) -> None:
    if ranks.ndim != 1:
        raise MetricError(f"ranks have shape {ranks.shape}, expected one dimension")
    bad = np.flatnonzero(~(np.isfinite(ranks) & (ranks >= 1.0)))
    if len(bad):
        raise MetricError(f"rank {ranks[bad[0]]} at position {bad[0]}, expected a finite number of at least 1")
