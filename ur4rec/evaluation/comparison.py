"""Ranks several systems on the same users and estimates how far apart they are.

T targets, M metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Int64

from ur4rec.columns import ITEM, TIMESTAMP_S, USER
from ur4rec.data.sequences import Histories, Sequences
from ur4rec.evaluation.baselines import EASE, Popularity, RecencyEASE, fit_ease
from ur4rec.evaluation.candidates import Candidates, Horizon
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.evaluation.results import Slice, SliceBy, SystemMetrics
from ur4rec.evaluation.slices import Group, popularity_groups, quantile_groups
from ur4rec.ranking.bootstrap import Estimate, bootstrap_means, estimate
from ur4rec.ranking.metrics import METRICS, per_user_metrics
from ur4rec.ranking.ranks import Scorer, rank_users

Ranks = Mapping[str, Int64[np.ndarray, "T 2"]]
"""System → first and last rank that each target can have."""
SystemsAt = Callable[[Histories], Mapping[str, Scorer]]
"""Histories to score from → systems by name."""
WeightsOf = Callable[[np.ndarray], dict[str, float]]
"""Users → mean router weight of each expert."""


class Baselines:
    """The configured baselines, fitted once on the training prefixes.

    Attributes:
        notes: Says which baselines were left out, and why.
    """

    def __init__(self, data: Sequences, config: EvaluationConfig) -> None:
        self._train = data.histories("validation")
        self._num_items = data.num_items
        self._names = [name for name in ("recency_ease", "ease", "popularity") if name in config.baselines]
        self.notes: list[str] = []
        if data.num_items > config.ease_max_items:
            self._leave_out_ease(config.ease_max_items)
        needs_weights = any(name != "popularity" for name in self._names)
        self._weights = fit_ease(self._train, data.num_items) if needs_weights else None

    def __call__(self, histories: Histories) -> dict[str, Scorer]:
        """A scorer of each baseline."""
        return {name: self._scorer(name, histories) for name in self._names}

    def _scorer(self, name: str, histories: Histories) -> Scorer:
        if name == "popularity":
            return Popularity(self._train, self._num_items)
        assert self._weights is not None
        return (EASE if name == "ease" else RecencyEASE)(self._weights, histories)

    def _leave_out_ease(self, limit: int) -> None:
        left_out = [name for name in self._names if name != "popularity"]
        self._names = [name for name in self._names if name == "popularity"]
        self.notes += [
            f"{name} was left out: {self._num_items} items are more than ease_max_items ({limit})" for name in left_out
        ]


def rank_systems(
    data: Sequences, systems_at: SystemsAt, horizon: Horizon, batch_size: int, candidates: Candidates | None = None
) -> dict[str, Int64[np.ndarray, "T 2"]]:
    """Ranks of the targets of `horizon` for every system, scored from what came before them.

    Args:
        data: The data set.
        systems_at: Gives the systems.
        horizon: Which targets.
        batch_size: Users scored at once.
        candidates: What every system is ranked on instead of the catalogue.
    """
    seen = data.histories(horizon)
    targets = data.val if horizon == "validation" else data.test
    drawn = candidates.at(horizon) if candidates else None
    return {name: rank_users(scorer, targets, seen, batch_size, drawn) for name, scorer in systems_at(seen).items()}


def estimate_systems(ranks: Ranks, samples: int) -> tuple[SystemMetrics, SystemMetrics]:
    """Estimates of every metric, and of the first system's lead over each other one.

    All systems are resampled with the same users, so the differences are paired.

    Returns:
        System → metric → estimate; other system → metric → estimate of first minus other.
    """
    values = np.stack([np.stack(list(per_user_metrics(rank).values()), axis=1) for rank in ranks.values()], axis=1)
    means = values.mean(0)
    resampled = bootstrap_means(values.reshape(len(values), -1), samples).reshape(samples, *means.shape)
    test = {name: _estimates(means[system], resampled[:, system]) for system, name in enumerate(ranks)}
    differences = {
        name: _estimates(means[0] - means[system], resampled[:, 0] - resampled[:, system])
        for system, name in enumerate(ranks)
        if system > 0
    }
    return test, differences


def estimate_slices(data: Sequences, ranks: Ranks, samples: int, expert_weights: WeightsOf) -> list[Slice]:
    """Test estimates of users by history length and by popularity of their target.

    Args:
        data: The data set.
        ranks: System → ranks of each test target.
        samples: Resamples of the users.
        expert_weights: Gives the mean router weights of some users.
    """
    users, items = data.test[:, USER], data.test[:, ITEM]
    popularity = data.training_counts()[items]
    by_length = quantile_groups(data.histories("test").lengths[users])
    by_popularity = popularity_groups(popularity)
    parts: tuple[tuple[SliceBy, list[Group]], ...] = (
        ("history_length", by_length),
        ("target_popularity", by_popularity),
    )
    return [
        _slice(by, group, ranks, samples, expert_weights(users[group.positions]))
        for by, groups in parts
        for group in groups
    ]


def later_interactions_share(data: Sequences) -> float:
    """Share of the other users' training interactions that are later than a test target, averaged over targets."""
    own = data.histories("validation").lengths[data.test[:, USER]]
    timestamps = np.sort(data.train[:, TIMESTAMP_S])
    # A user's own training interactions are never later than the target, so all later ones are other users'.
    later = len(timestamps) - np.searchsorted(timestamps, data.test[:, TIMESTAMP_S], side="right")
    return float(np.mean(later / np.maximum(len(timestamps) - own, 1)))


def _slice(by: SliceBy, group: Group, ranks: Ranks, samples: int, expert_weights: dict[str, float]) -> Slice:
    test, _ = estimate_systems({name: rank[group.positions] for name, rank in ranks.items()}, samples)
    return Slice(
        by=by,
        name=group.name,
        low=group.low,
        high=group.high,
        num_users=len(group.positions),
        test=test,
        expert_weights=expert_weights,
    )


def _estimates(means: np.ndarray, resampled: np.ndarray) -> dict[str, Estimate]:
    return {metric: estimate(float(means[number]), resampled[:, number]) for number, metric in enumerate(METRICS)}
