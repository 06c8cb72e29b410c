import doctest

import numpy as np
import pytest

from ur4rec.ranking.bootstrap import bootstrap_means
from ur4rec.registry.gate import judge as statistics
from ur4rec.registry.gate.judge import harm_p_value, lower_bound, reject_holm, resample_relative


def test_examples_in_the_docstrings():
    outcome = doctest.testmod(statistics)
    assert outcome.attempted >= 5
    assert outcome.failed == 0


def test_the_memory_limit_changes_nothing(monkeypatch):
    first, second = np.random.default_rng(1).random((2, 30))
    whole = resample_relative(first, second, samples=100)
    monkeypatch.setattr(statistics, "ENTRIES_AT_ONCE", 7 * 30)
    assert resample_relative(first, second, samples=100) == pytest.approx(whole, rel=1e-12)


def test_drawing_distinct_pairs_is_drawing_users():
    source = np.random.default_rng(1)
    first, second = source.choice([0, 0.5, 1], size=(2, 400))
    ours = resample_relative(first, second, samples=20_000)
    means = bootstrap_means(np.stack([first, second], axis=1), samples=20_000)
    theirs = means[:, 0] / means[:, 1] - 1
    for level in (0.01, 0.05, 0.1, 0.5, 0.95):
        assert np.quantile(ours, level) == pytest.approx(np.quantile(theirs, level), abs=0.01)


def test_the_bound_is_exceeded_as_often_as_the_level_says():
    # True difference 0, 600 users, a tenth of whom are won and as many lost.
    source, level, above = np.random.default_rng(2), 0.1, 0
    for _ in range(400):
        first, second = source.choice([[1, 0], [0, 1], [1, 1]], p=[0.1, 0.1, 0.8], size=600).T.astype(float)
        above += lower_bound(resample_relative(first, second, 1000), level) > 0
    assert 0.05 < above / 400 < 0.16


def test_a_p_value_is_never_zero():
    assert harm_p_value(np.full(999, -1.0), 0.1) == 0.001


def test_holm_stops_at_the_first_that_stands():
    assert reject_holm({"a": 0.02, "b": 0.06, "c": 0.001}, 0.05) == {"a", "c"}
    assert reject_holm({"a": 0.02}, 0.05) == {"a"}
    assert reject_holm({}, 0.05) == set()
