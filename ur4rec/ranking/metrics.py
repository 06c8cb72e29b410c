"""Metrics of one relevant item per user, computed from the ranks that it can have: a gain at each place.

T targets, K places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64


class MetricError(ValueError):
    """Ranks that no metric can be computed from."""


@dataclass(frozen=True)
class RankMetric:
    """A gain at each place; a user's value is its mean over the places that the target can take, each as likely.

    Args:
        name: What results call it, before `@` and the cut-off.
        meaning: What a value says, for the reader of a report.
        gain: Places, counted from 1, to the gain at each.
        cutoffs: Places beyond which there is no gain, one metric each; without one, every place counts.
        highest: No value of a user is greater.
    """

    name: str
    meaning: str
    gain: Callable[[Float64[np.ndarray, "K"]], Float64[np.ndarray, "K"]]
    cutoffs: tuple[int, ...] = ()
    highest: float = 1.0

    def columns(self) -> dict[str, int | None]:
        """The name of each metric in results, and its cut-off."""
        return {f"{self.name}@{k}": k for k in self.cutoffs} or {self.name: None}


RANK_METRICS = (
    RankMetric("hit", "Share of users whose target ranks among the first k.", np.ones_like, (1, 5, 10, 20)),
    RankMetric(  # Järvelin & Kekäläinen 2002; with one relevant item of gain 1 the ideal DCG is 1
        "ndcg",
        "1 / log₂(rank + 1) if the target ranks among the first k, else 0; averaged over users.",
        lambda places: 1.0 / np.log2(places + 1.0),
        (5, 10, 20),
    ),
    RankMetric("mrr", "1 / rank, averaged over users.", lambda places: 1.0 / places),
)
"""All of them: what is added here is measured, validated, reported and logged."""
METRICS = tuple(name for metric in RANK_METRICS for name in metric.columns())
HIGHEST = {name: metric.highest for metric in RANK_METRICS for name in metric.columns()}


def per_user_metrics(ranks: Int64[np.ndarray, "T 2"]) -> dict[str, Float64[np.ndarray, "T"]]:
    """Return every metric of `METRICS` for every user.

    Where scores tie, the mean over the ranks is that over all orders of the tied items (McSherry & Najork 2008,
    "Computing information retrieval performance measures efficiently in the presence of tied scores").

    Args:
        ranks: First and last rank that each user's target can have, counted from 1 (best).

    Raises:
        MetricError: The ranks are not pairs of whole numbers of at least 1, the first no greater than the last.

    >>> per_user_metrics(np.array([[1, 1], [3, 3], [2, 3]]))["ndcg@5"].round(3).tolist()
    [1.0, 0.5, 0.565]
    """
    _check(ranks)
    longest = max(k for metric in RANK_METRICS for k in metric.cutoffs)
    places = np.arange(1.0, max(ranks.max(initial=1), longest) + 1)
    return {
        name: _mean_gain(metric.gain(places)[:cutoff], ranks)
        for metric in RANK_METRICS
        for name, cutoff in metric.columns().items()
    }


def metrics_from_ranks(ranks: Int64[np.ndarray, "T 2"]) -> dict[str, float]:
    """Return the mean over users of every metric of `METRICS`.

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
    """Average the gains of ranks 1 to K, beyond which there is none; a single rank has its gain to the last bit."""
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
