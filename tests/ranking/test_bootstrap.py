import math
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from ur4rec.ranking import bootstrap
from ur4rec.ranking.bootstrap import Estimate, bootstrap_means, estimate, paired_difference

VALUES = np.random.default_rng(1).gamma(1.0, 1.0, (400, 2))


def test_the_means_are_always_the_same() -> None:
    assert np.array_equal(bootstrap_means(VALUES, 50), bootstrap_means(VALUES, 50))


def test_the_memory_bound_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bootstrap_means(VALUES, 50)
    monkeypatch.setattr(bootstrap, "ENTRIES_AT_ONCE", 900)
    assert bootstrap_means(VALUES, 50) == pytest.approx(whole, rel=1e-12)


def test_a_resample_draws_as_many_users_as_there_are() -> None:
    means = bootstrap_means(np.eye(5), 200)
    assert means.sum(1) == pytest.approx(np.ones(200))
    assert set(np.unique(np.round(means * 5))) <= {0, 1, 2, 3, 4, 5}
    assert means.std() > 0.1


def test_columns_are_resampled_with_the_same_users() -> None:
    means = bootstrap_means(np.column_stack([VALUES[:, 0], VALUES[:, 0] + 1]), 50)
    assert means[:, 1] - means[:, 0] == pytest.approx(np.ones(50))


def test_interval_agrees_with_the_normal_approximation() -> None:
    interval = estimate(VALUES[:, 0].mean(), bootstrap_means(VALUES, 4000)[:, 0]).ci95
    half = 1.96 * VALUES[:, 0].std() / math.sqrt(len(VALUES))
    assert interval == pytest.approx((VALUES[:, 0].mean() - half, VALUES[:, 0].mean() + half), rel=0.02)


def test_interval_holds_the_middle_95_percent() -> None:
    assert estimate(0.0, np.arange(1001.0)).ci95 == (25.0, 975.0)


def test_pairing_narrows_the_interval() -> None:
    noisy = VALUES[:, 0] + 0.1 + np.random.default_rng(2).normal(0, 0.05, len(VALUES))
    paired = paired_difference(noisy, VALUES[:, 0], samples=500)
    unpaired = paired_difference(noisy, np.random.default_rng(3).permutation(VALUES[:, 0]), samples=500)
    assert paired.excludes_zero
    assert not unpaired.excludes_zero
    assert paired.value == pytest.approx(0.1, abs=0.01)


def test_difference_of_equal_systems_is_zero() -> None:
    difference = paired_difference(VALUES[:, 0], VALUES[:, 0], samples=100)
    assert (difference.value, difference.ci95, difference.excludes_zero) == (0.0, (0.0, 0.0), False)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"value": math.nan, "ci95": (0, 1)}, "finite number"),
        ({"value": 0.5, "ci95": (0, math.inf)}, "finite number"),
        ({"value": 0.5, "ci95": (0.6, 0.4)}, "Value error"),
        ({"value": 0.5, "ci95": (0.4,)}, "Field required"),
    ],
)
def test_estimates_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Estimate(**fields)
