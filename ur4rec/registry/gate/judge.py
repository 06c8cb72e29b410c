"""Judges measurements by the rules: one outcome a rule, nothing left to chance but the seeded bootstrap.

Letters: S resamples, T ranked users.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from jaxtyping import Float64

from ur4rec.ranking.bootstrap import BOOTSTRAP_SEED, ENTRIES_AT_ONCE
from ur4rec.registry.gate.measurements import METRIC, Cost, Quality
from ur4rec.registry.gate.rules import GateRules
from ur4rec.registry.gate.verdict import FAILED, PASSED, RuleOutcome


def resample_relative(
    challenger: Float64[np.ndarray, "T"], other: Float64[np.ndarray, "T"], samples: int
) -> Float64[np.ndarray, "S"]:
    """Draw users with replacement and return the relative differences of two means over the same users.

    To draw T users is to draw how often each distinct pair of values occurs, which is multinomial. Per-user metrics
    take few values where scores seldom tie, so a hundred thousand users cost hardly more than a thousand.

    >>> bool((resample_relative(np.array([0.5, 1.0]), np.array([1.0, 2.0]), samples=10) == -0.5).all())
    True
    """
    pairs, counts = np.unique(challenger + 1j * other, return_counts=True)  # complex numbers sort fast
    rng, chunk = np.random.default_rng(BOOTSTRAP_SEED), max(1, ENTRIES_AT_ONCE // len(pairs))
    sizes = (min(chunk, samples - start) for start in range(0, samples, chunk))
    draws = (rng.multinomial(len(challenger), counts / counts.sum(), size=size) for size in sizes)
    return relative_difference(*np.hstack([(drawn @ pairs.real, drawn @ pairs.imag) for drawn in draws]))


def relative_difference(challenger: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Compare sums of equally many users; nothing against nothing is no difference, something is infinitely more.

    >>> relative_difference(np.array([3.0, 0.0, 1.0]), np.array([4.0, 0.0, 0.0])).tolist()
    [-0.25, 0.0, inf]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.asarray(challenger / other, dtype=np.float64)
    return np.where(other == 0, np.where(challenger == 0, 1.0, np.inf), ratio) - 1.0


def lower_bound(resampled: Float64[np.ndarray, "S"], level: float) -> float:
    """Bound the one-sided percentile interval: the difference is worse than this with probability `level`."""
    return float(np.quantile(resampled, level, method="lower"))


def harm_p_value(resampled: Float64[np.ndarray, "S"], margin: float) -> float:
    """Say how well the resamples agree with a loss no greater than `margin`: small where a greater loss is proven.

    >>> harm_p_value(np.array([-0.5, -0.4, -0.3, 0.0]), margin=0.1)
    0.4
    """
    return (1 + int((resampled >= -margin).sum())) / (1 + len(resampled))


def reject_holm(p_values: Mapping[str, float], level: float) -> set[str]:
    """Reject hypotheses while the probability of any false rejection stays below `level` (Holm 1979).

    >>> sorted(reject_holm({"a": 0.01, "b": 0.03, "c": 0.02}, 0.05))
    ['a', 'b', 'c']
    >>> sorted(reject_holm({"a": 0.01, "b": 0.04, "c": 0.03}, 0.05))
    ['a']
    """
    rejected: set[str] = set()
    for name in sorted(p_values, key=p_values.__getitem__):
        if p_values[name] > level / (len(p_values) - len(rejected)):
            break
        rejected.add(name)
    return rejected


def _check(
    rule: str, value: float | None, threshold: float, detail: str, is_good: Callable[[float, float], bool]
) -> RuleOutcome:
    """Pass where value and threshold are finite numbers, the value is good, and fail otherwise."""
    if value is None or not math.isfinite(value) or not math.isfinite(threshold):
        return _unmeasured(rule, value, detail)
    outcome = PASSED if is_good(value, threshold) else FAILED
    return RuleOutcome(rule=rule, outcome=outcome, value=value, threshold=threshold, detail=detail)


check_at_least, check_at_most = partial(_check, is_good=operator.ge), partial(_check, is_good=operator.le)
"""Rules whose value must not be below, or above, the threshold."""


def skip(rule: str, reason: str) -> RuleOutcome:
    """Say of a rule that it does not apply."""
    return RuleOutcome(rule=rule, outcome=f"skipped: {reason}")


def judge_floor(challenger: Quality | None, popularity: Quality | None, rules: GateRules) -> list[RuleOutcome]:
    """Judge what every challenger has to reach, with or without a champion."""
    value, baseline = _mean(challenger), _mean(popularity)
    absolute = check_at_least("floor", value, rules.floor_ndcg_at_10, f"{METRIC} of the challenger")
    if baseline is None or not math.isfinite(baseline):
        return [absolute, _unmeasured("floor_over_popularity", baseline, "NDCG@10 of ranking by popularity")]
    threshold = rules.floor_times_popularity * baseline
    detail = f"{METRIC}, against {rules.floor_times_popularity:g} times that of ranking by popularity"
    return [absolute, check_at_least("floor_over_popularity", value, threshold, detail)]


def judge_non_inferiority(
    rule: str, challenger: Quality | None, other: Quality | None, rules: GateRules
) -> RuleOutcome:
    """Judge whether the challenger is shown not to be worse than another model by more than the margin."""
    if challenger is None or other is None:
        return _unmeasured(rule, None, METRIC)
    if not (np.isfinite(challenger.ndcg).all() and np.isfinite(other.ndcg).all()):
        return _unmeasured(rule, math.nan, METRIC)
    margin = rules.margin(len(challenger.ndcg))
    resampled = resample_relative(challenger.ndcg, other.ndcg, rules.bootstrap_samples)
    detail = (
        f"lower {1 - rules.level:.0%} bound of the relative difference of {METRIC}; "
        f"{challenger.ndcg.mean():.4f} against {other.ndcg.mean():.4f}"
    )
    bound = lower_bound(resampled, rules.level)
    if bound == math.inf:
        return RuleOutcome(rule=rule, outcome=PASSED, threshold=-margin, detail=f"{detail}: better without bound")
    return check_at_least(rule, bound, -margin, detail)


def judge_slices(
    challenger: Quality | None, champion: Quality | None, slices: Mapping[str, np.ndarray], rules: GateRules
) -> list[RuleOutcome]:
    """Fail the slices that are proven to have lost more than the margin, at a level for all of them together."""
    if challenger is None or champion is None:
        return [_unmeasured(f"slice_{name}", None, METRIC) for name in slices]
    p_values, means, skipped = {}, {}, []
    for name, positions in slices.items():
        if len(positions) < rules.min_slice_users:
            skipped.append(skip(f"slice_{name}", f"{len(positions)} users, min_slice_users: {rules.min_slice_users}"))
            continue
        ours, theirs = challenger.ndcg[positions], champion.ndcg[positions]
        resampled = resample_relative(ours, theirs, rules.bootstrap_samples)
        p_values[name] = harm_p_value(resampled, rules.slice_margin)
        means[name] = (ours.mean(), theirs.mean())
    worse = reject_holm(p_values, rules.slice_level)
    return [_slice(name, *means[name], p, name in worse, rules) for name, p in p_values.items()] + skipped


def judge_lists(challenger: Quality | None, champion: Quality | None, rules: GateRules) -> list[RuleOutcome]:
    """Judge breadth and popularity of what is recommended, against the champion."""
    if challenger is None or champion is None:
        return [_unmeasured("coverage", None, "coverage"), _unmeasured("popularity_bias", None, "popularity")]
    return [
        check_at_least(
            "coverage",
            challenger.coverage,
            rules.min_coverage_ratio * champion.coverage,
            f"share of the catalogue in anybody's top 10; the champion's is {champion.coverage:.4f}",
        ),
        check_at_most(
            "popularity_bias",
            challenger.popularity,
            champion.popularity + rules.max_popularity_rise,
            f"mean popularity percentile in the top 10; the champion's is {champion.popularity:.4f}",
        ),
    ]


def judge_cost(challenger: Cost | None, champion: Cost | None, rules: GateRules) -> list[RuleOutcome]:
    """Judge latency and size, absolutely and against the champion."""
    latency, size = (None, None) if challenger is None else (challenger.latency_ms, challenger.size_mb)
    outcomes = [
        check_at_most("latency", latency, rules.max_latency_ms, "ms of one core for one user's top 10"),
        check_at_most("size", size, rules.max_size_mb, "MiB of the files that serve"),
    ]
    if champion is None:
        return outcomes
    slower, larger = champion.latency_ms * rules.max_latency_ratio, champion.size_mb * rules.max_size_ratio
    return [
        *outcomes,
        check_at_most("latency_over_champion", latency, slower, f"ms; the champion's are {champion.latency_ms:.2f}"),
        check_at_most("size_over_champion", size, larger, f"MiB; the champion's are {champion.size_mb:.2f}"),
    ]


def _unmeasured(rule: str, value: float | None, what: str) -> RuleOutcome:
    reason = "missing: it was not measured" if value is None else f"{value}, not a finite number"
    return RuleOutcome(rule=rule, outcome=FAILED, detail=f"{what}: {reason}")


def _slice(name: str, ours: float, theirs: float, p_value: float, worse: bool, rules: GateRules) -> RuleOutcome:
    difference = ours / theirs - 1 if theirs else 0.0
    detail = (
        f"relative difference of {METRIC}, {ours:.4f} against {theirs:.4f}; p = {p_value:.4f} "
        f"for a loss above {rules.slice_margin:.0%}"
    )
    return RuleOutcome(
        rule=f"slice_{name}",
        outcome=FAILED if worse else PASSED,
        value=float(difference),
        threshold=-rules.slice_margin,
        detail=detail,
    )


def _mean(quality: Quality | None) -> float | None:
    return None if quality is None else float(quality.ndcg.mean())
