"""Ranks several systems on the same users and estimates how far apart they are.

T targets, M metrics, S resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float64, Int64

from ur4rec.columns import TIMESTAMP_S, USER
from ur4rec.data.sequences import Histories, Sequences
from ur4rec.evaluation.candidates import Candidates, Horizon, targets_at
from ur4rec.evaluation.results import HEADLINE_METRICS, ListFigures, Slice, SystemMetrics
from ur4rec.evaluation.slices import SLICES, Group
from ur4rec.ranking.bootstrap import Estimate, Figure, bootstrap_means, estimate
from ur4rec.ranking.lists import ListMetric
from ur4rec.ranking.metrics import METRICS, per_user_metrics
from ur4rec.ranking.ranks import Scorer, rank_users

Ranks = Mapping[str, Int64[np.ndarray, "T 2"]]
"""System → first and last rank that each target can have."""
SystemsAt = Callable[[Histories], Mapping[str, Scorer]]
"""Histories to score from → systems by name."""
WeightsOf = Callable[[np.ndarray], dict[str, float]]
"""Users → mean router weight of each expert."""


def rank_systems(
    data: Sequences,
    systems_at: SystemsAt,
    horizon: Horizon,
    batch_size: int,
    candidates: Candidates | None = None,
    excludes_seen: bool = True,
    lists_of: Callable[[str], Sequence[ListMetric]] = lambda system: (),
) -> dict[str, Int64[np.ndarray, "T 2"]]:
    """Rank the targets of `horizon`, in the catalogue or among candidates, by every system.

    Systems score from what came before the targets; unless `excludes_seen`, it competes with them in the catalogue.
    `lists_of` a system's name are the metrics that see its lists.
    """
    before = data.histories(horizon)
    seen, drawn = before if excludes_seen else None, candidates.at(horizon) if candidates else None
    return {
        name: rank_users(scorer, targets_at(data, horizon), seen, batch_size, drawn, lists_of(name))
        for name, scorer in systems_at(before).items()
    }


def estimate_systems(ranks: Ranks, samples: int) -> tuple[SystemMetrics, SystemMetrics]:
    """Estimate every metric, and the first system's lead over each other one.

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


def estimate_lists(lists: Mapping[str, Sequence[ListMetric]], samples: int) -> ListFigures:
    """Estimate every metric of the systems' lists, with an interval over users where it is a mean over them.

    A metric that is no number, as where no list holds an item, is left out.
    """
    means = {
        (system, metric.name): sums
        for system, metrics in lists.items()
        for metric in metrics
        if (sums := metric.user_sums()) is not None
    }
    resampled = bootstrap_means(np.hstack(list(means.values())), samples) if means else np.empty((samples, 0))
    quotients = dict(zip(means, np.hsplit(resampled, max(len(means), 1)), strict=False))
    return {
        system: {
            metric.name: _figure(value, quotients.get((system, metric.name)))
            for metric in metrics
            if np.isfinite(value := metric.value())
        }
        for system, metrics in lists.items()
    }


def estimate_slices(data: Sequences, ranks: Ranks, samples: int, expert_weights: WeightsOf) -> list[Slice]:
    """Estimate the test metrics, and the mean router weights, of every part of the users in `SLICES`."""
    users = data.test[:, USER]
    return [
        _slice(by, group, ranks, samples, expert_weights(users[group.positions]))
        for by, slicing in SLICES.items()
        for group in slicing.groups(data, data.test)
    ]


def later_interactions_share(data: Sequences) -> float:
    """Return the share of the others' training interactions that are later than a test target, over targets."""
    own = data.histories("validation").lengths[data.test[:, USER]]
    timestamps = np.sort(data.train[:, TIMESTAMP_S])
    # A user's own training interactions are never later than the target, so all later ones are other users'.
    later = len(timestamps) - np.searchsorted(timestamps, data.test[:, TIMESTAMP_S], side="right")
    return float(np.mean(later / np.maximum(len(timestamps) - own, 1)))


def _slice(by: str, group: Group, ranks: Ranks, samples: int, expert_weights: dict[str, float]) -> Slice:
    test, leads = estimate_systems({name: rank[group.positions] for name, rank in ranks.items()}, samples)
    return Slice(
        by=by,
        name=group.name,
        low=group.low,
        high=group.high,
        num_users=len(group.positions),
        test=test,
        differences={name: {metric: lead[metric] for metric in HEADLINE_METRICS} for name, lead in leads.items()},
        expert_weights=expert_weights,
    )


def _figure(value: float, resampled: Float64[np.ndarray, "S 2"] | None) -> Figure:
    if resampled is None:
        return Figure(value=value, ci95=None)
    sums, lengths = resampled.T
    drawn = np.divide(sums, lengths, out=np.full_like(sums, value), where=lengths > 0)
    return Figure(value=value, ci95=estimate(value, drawn).ci95)


def _estimates(means: np.ndarray, resampled: np.ndarray) -> dict[str, Estimate]:
    return {metric: estimate(float(means[number]), resampled[:, number]) for number, metric in enumerate(METRICS)}
