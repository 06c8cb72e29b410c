"""Ranking metrics of one relevant item per user, computed from the ranks that it can have.

T targets.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

HIT_CUTOFFS = (1, 5, 10, 20)
NDCG_CUTOFFS = (5, 10, 20)
METRICS = ("hit@1", "hit@5", "hit@10", "hit@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr")


class MetricError(ValueError):
    """Ranks that no metric can be computed from."""


def per_user_metrics(ranks: Int64[np.ndarray, "T 2"]) -> dict[str, Float64[np.ndarray, "T"]]:
    """Every metric of `METRICS` for every user: its mean over the ranks that the target can have, each as likely.

    With a single relevant item at rank r: `hit@k = [r <= k]`, `ndcg@k = [r <= k] / log2(r + 1)` (Järvelin & Kekäläinen
    2002, gain 1, ideal DCG 1) and `mrr = 1 / r`. Where scores tie, the mean is that over all orders of the tied items
    (McSherry & Najork 2008, "Computing information retrieval performance measures efficiently in the presence of tied
    scores").

    Args:
        ranks: First and last rank that each user's target can have, counted from 1 (best).

    Returns:
        Metric name → values, in the order of `METRICS`.

    Raises:
        MetricError: The ranks are not pairs of whole numbers of at least 1, the first no greater than the last.

    >>> per_user_metrics(np.array([[1, 1], [3, 3], [2, 3]]))["ndcg@5"].round(3).tolist()
    [1.0, 0.5, 0.565]
    """
    _check(ranks)
    places = np.arange(1, max(ranks.max(initial=1), *NDCG_CUTOFFS) + 1)
    discounts = 1.0 / np.log2(places + 1.0)
    values = {f"hit@{k}": _mean_gain(np.ones(k), ranks) for k in HIT_CUTOFFS}
    values |= {f"ndcg@{k}": _mean_gain(discounts[:k], ranks) for k in NDCG_CUTOFFS}
    return values | {"mrr": _mean_gain(1.0 / places, ranks)}


def metrics_from_ranks(ranks: Int64[np.ndarray, "T 2"]) -> dict[str, float]:
    """Mean over users of every metric of `METRICS`.

    Raises:
        MetricError: There are no ranks, or they are refused by `per_user_metrics`.

    >>> metrics = metrics_from_ranks(np.array([[1, 1], [4, 4], [40, 40], [5, 6]]))
    >>> metrics["hit@1"], metrics["hit@5"], round(metrics["mrr"], 5)
    (0.25, 0.625, 0.36458)
    """
    if len(ranks) == 0:
        raise MetricError("no ranks to average: there is no user with a target; use a data set or split that has")
    return {name: float(values.mean()) for name, values in per_user_metrics(ranks).items()}


def _mean_gain(gains: Float64[np.ndarray, "K"], ranks: Int64[np.ndarray, "T 2"]) -> Float64[np.ndarray, "T"]:
    """Of the gains of ranks 1 to K, beyond which there is none; a single rank has its gain to the last bit."""
    gains = np.concatenate([[0.0], gains, [0.0]])
    first, last = ranks.T
    sums = np.cumsum(gains)
    before, through = (sums[np.minimum(rank, len(sums) - 1)] for rank in (first - 1, last))
    own: np.ndarray = gains[np.minimum(first, len(gains) - 1)]
    return np.where(first == last, own, (through - before) / (last - first + 1))


def _check(ranks: np.ndarray) -> None:
    if ranks.ndim != 2 or ranks.shape[1] != 2 or not np.issubdtype(ranks.dtype, np.integer):
        raise MetricError(f"ranks are {ranks.dtype} of shape {ranks.shape}, expected whole numbers [T, 2]: first, last")
    bad = np.flatnonzero((ranks[:, 0] < 1) | (ranks[:, 1] < ranks[:, 0]))
    if len(bad):
        first, last = ranks[bad[0]]
        raise MetricError(f"ranks {first} to {last} at position {bad[0]}, expected 1 or more, the last no smaller")
