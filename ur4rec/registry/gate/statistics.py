"""Paired bootstrap of a relative difference, and Holm's correction.

T users, S resamples, D distinct rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64

from ur4rec.evaluation.bootstrap import BOOTSTRAP_SEED, ENTRIES_AT_ONCE


def resample_relative(
    challenger: Float64[np.ndarray, "T"], other: Float64[np.ndarray, "T"], samples: int
) -> Float64[np.ndarray, "S"]:
    """Relative difference of two means over users drawn with replacement, both from the same users.

    To draw T users is to draw how often each distinct pair of values occurs, which is multinomial. Per-user metrics
    take few values where scores seldom tie, so a hundred thousand users cost hardly more than a thousand.

    Args:
        challenger: Value of each user.
        other: The other model's, users in the same order.
        samples: Resamples.

    >>> bool((resample_relative(np.array([0.5, 1.0]), np.array([1.0, 2.0]), samples=10) == -0.5).all())
    True
    """
    pairs, counts = np.unique(challenger + 1j * other, return_counts=True)  # complex numbers sort fast
    rng, chunk = np.random.default_rng(BOOTSTRAP_SEED), max(1, ENTRIES_AT_ONCE // len(pairs))
    sizes = (min(chunk, samples - start) for start in range(0, samples, chunk))
    draws = (rng.multinomial(len(challenger), counts / counts.sum(), size=size) for size in sizes)
    return relative_difference(*np.hstack([(drawn @ pairs.real, drawn @ pairs.imag) for drawn in draws]))


def relative_difference(challenger: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of two sums of equally many users; nothing against nothing is no difference, something is infinitely more.

    >>> relative_difference(np.array([3.0, 0.0, 1.0]), np.array([4.0, 0.0, 0.0])).tolist()
    [-0.25, 0.0, inf]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.asarray(challenger / other, dtype=np.float64)
    return np.where(other == 0, np.where(challenger == 0, 1.0, np.inf), ratio) - 1.0


def lower_bound(resampled: Float64[np.ndarray, "S"], level: float) -> float:
    """Of the one-sided percentile interval: what the difference is worse than with probability `level`."""
    return float(np.quantile(resampled, level, method="lower"))


def harm_p_value(resampled: Float64[np.ndarray, "S"], margin: float) -> float:
    """How well the resamples agree with a loss no greater than `margin`: small where a greater loss is proven.

    >>> harm_p_value(np.array([-0.5, -0.4, -0.3, 0.0]), margin=0.1)
    0.4
    """
    return (1 + int((resampled >= -margin).sum())) / (1 + len(resampled))


def reject_holm(p_values: Mapping[str, float], level: float) -> set[str]:
    """Hypotheses that fall while the probability of any false rejection stays below `level` (Holm 1979).

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
