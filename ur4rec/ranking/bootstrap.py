"""Percentile bootstrap over users: intervals of means and of paired differences.

T users, K columns of per-user values, S resamples.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from jaxtyping import Float64
from pydantic import BaseModel, ConfigDict, FiniteFloat, model_validator

BOOTSTRAP_SEED = 0
"""Fixed, so that the same ranks always give the same interval."""
ENTRIES_AT_ONCE = 4_000_000
"""Bounds the memory of resampling."""


class Figure(BaseModel):
    """A number, and its 95 % interval where it has one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: FiniteFloat
    ci95: tuple[FiniteFloat, FiniteFloat] | None

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.ci95 and self.ci95[0] > self.ci95[1]:
            raise ValueError(f"ci95 is [low, high], got {list(self.ci95)}")
        return self


class Estimate(Figure):
    """A mean over users and its 95 % interval."""

    ci95: tuple[FiniteFloat, FiniteFloat]

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero."""
        return self.ci95[0] > 0 or self.ci95[1] < 0


def bootstrap_means(values: Float64[np.ndarray, "T K"], samples: int) -> Float64[np.ndarray, "S K"]:
    """Means of every column over users drawn with replacement; a resample draws the same users for all columns.

    Memory is bounded: resamples are drawn in chunks of at most four million users (one resample at least).
    """
    num_users = len(values)
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    chunk = max(1, ENTRIES_AT_ONCE // num_users)
    means = np.empty((samples, values.shape[1]))
    for start in range(0, samples, chunk):
        size = min(chunk, samples - start)
        drawn = rng.integers(num_users, size=(size, num_users))
        drawn += np.arange(size)[:, None] * num_users
        counts = np.bincount(drawn.ravel(), minlength=size * num_users).reshape(size, num_users)
        means[start : start + size] = counts @ values / num_users
    return means


def estimate(value: float, resampled: Float64[np.ndarray, "S"]) -> Estimate:
    """The percentile interval of a statistic whose resampled values are given."""
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Estimate(value=value, ci95=(float(low), float(high)))


def paired_difference(
    first: Float64[np.ndarray, "T"],
    second: Float64[np.ndarray, "T"],
    samples: int,
) -> Estimate:
    """Mean of `first - second` for two systems measured on the same users in the same order.

    >>> paired_difference(np.array([0.5, 1.0, 0.75]), np.array([0.0, 0.5, 0.25]), samples=100).ci95
    (0.5, 0.5)
    """
    difference = (first - second)[:, None]
    return estimate(float(difference.mean()), bootstrap_means(difference, samples)[:, 0])
