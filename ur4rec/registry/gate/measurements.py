"""What the rules are about: quality per user, breadth and popularity of the lists, latency, size.

T ranked users.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64

from ur4rec.columns import ITEM, USER
from ur4rec.data.sequences import Sequences
from ur4rec.evaluation.baselines import Popularity
from ur4rec.evaluation.metrics import per_user_metrics
from ur4rec.evaluation.ranking import Scorer, rank_users
from ur4rec.evaluation.slices import COLD, popularity_groups, quantile_groups
from ur4rec.registry.gate.scoring import ListCounter, LoadedModel
from ur4rec.registry.recommender import Recommender

METRIC = "ndcg@10"
TOP = 10
BATCH_SIZE = 256
MAX_SCORES = 1 << 24
REPETITIONS = 3
STRIDE = 7919
"""A prime, so that the users asked for are spread over all."""


@dataclass(frozen=True)
class Quality:
    """A system's answers to the ranked targets."""

    ndcg: Float64[np.ndarray, "T"]
    """NDCG@10 of each user."""
    coverage: float
    """Share of the catalogue that is in anybody's top 10."""
    popularity: float
    """Mean popularity percentile of what is in the top 10: 1 is the most popular item."""


@dataclass(frozen=True)
class Cost:
    """What a model asks for when it serves."""

    latency_ms: float
    size_mb: float


def measure_quality(data: Sequences, rows: np.ndarray, scorer: Scorer) -> Quality:
    """Ranks the whole catalogue without the seen items for some test targets.

    Args:
        data: The test data.
        rows: Positions of the targets in `data.test`.
        scorer: Scores from the histories of the test horizon.

    Raises:
        ScoreError: A score is NaN.
    """
    seen = data.histories("test")
    counter = ListCounter(scorer, seen, data.num_items, TOP)
    batch_size = max(1, min(BATCH_SIZE, MAX_SCORES // (data.num_items + 1)))
    ranks = rank_users(counter, np.asarray(data.test)[rows], seen, batch_size)
    counts = counter.counts[1:]
    return Quality(
        ndcg=per_user_metrics(ranks)[METRIC],
        coverage=float(1 - counter.missed[1:].mean()),
        popularity=float(np.average(popularity_percentiles(data), weights=counts)) if counts.any() else float("nan"),
    )


def measure_popularity_baseline(data: Sequences, rows: np.ndarray) -> Quality:
    """Ranking by popularity, on the same targets."""
    return measure_quality(data, rows, Popularity(data.histories("validation"), data.num_items))


def popularity_percentiles(data: Sequences) -> Float64[np.ndarray, "N"]:
    """Share of the catalogue that is no more popular than each item, half of its equals counted."""
    counts = data.training_counts()[1:]
    ordered = np.sort(counts)
    below, through = (np.searchsorted(ordered, counts, side=side) for side in ("left", "right"))
    return (below + through) / (2 * data.num_items)


def find_slices(data: Sequences, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Positions in `rows` of the users with the shortest and longest quarter of histories and of unpopular targets.

    A target is unpopular when it is in the lowest quarter by training interactions, or has none.
    """
    targets = np.asarray(data.test)[rows]
    lengths = data.histories("test").lengths[targets[:, USER]]
    quarters = {group.name: group.positions for group in quantile_groups(lengths)}
    popularity = data.training_counts()[targets[:, ITEM]]
    tail = [group.positions for group in popularity_groups(popularity) if group.name in (COLD, "q1")]
    nobody = np.empty(0, dtype=np.int64)
    return {
        "cold_users": quarters.get("q1", nobody),
        "heavy_users": quarters.get("q4", nobody),
        "long_tail_items": np.sort(np.concatenate([nobody, *tail])),
    }


def measure_costs(models: Sequence[LoadedModel], num_requests: int) -> list[Cost]:
    """Median over users of the processor time of a known user's top 10, and the size on disk.

    Processor time of one thread, not wall time: a machine that is busy with other work would refuse a good model. Of
    each request the fastest of a few repetitions counts, and the models are asked in turn.
    """
    recommenders = [model.recommender for model in models]
    with _one_thread():
        for recommender in recommenders:
            _ask(recommender, 0)
        seconds = [
            np.min([[_ask(each, number) for each in recommenders] for _ in range(REPETITIONS)], axis=0)
            for number in range(num_requests)
        ]
    latencies_ms = 1000 * np.median(seconds, axis=0)
    return [Cost(float(latency), model.size_mb) for latency, model in zip(latencies_ms, models, strict=True)]


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _ask(recommender: Recommender, number: int) -> float:
    users = list(recommender.bundle.user_index)
    user = users[number * STRIDE % len(users)]
    started = time.thread_time()
    recommender.recommend([user], k=TOP)
    return time.thread_time() - started
