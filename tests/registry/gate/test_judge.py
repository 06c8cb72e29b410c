"""Rules on numbers worked out by hand."""

import doctest
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from chain_models import make_rules
from numpy.typing import NDArray

from ur4rec.ranking.bootstrap import bootstrap_means
from ur4rec.registry.gate import judge
from ur4rec.registry.gate.judge import (
    check_at_least,
    check_at_most,
    harm_p_value,
    judge_cost,
    judge_floor,
    judge_lists,
    judge_non_inferiority,
    judge_slices,
    lower_bound,
    reject_holm,
    resample_relative,
)
from ur4rec.registry.gate.measurements import Cost, Quality
from ur4rec.registry.gate.verdict import RuleOutcome, decide


def quality(ndcg: list[float] | NDArray[Any], coverage: float = 0.5, popularity: float = 0.8) -> Quality:
    return Quality(np.asarray(ndcg, dtype=float), coverage, popularity)


HALF = [1.0, 0.0] * 500


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
@pytest.mark.parametrize("check", [check_at_least, check_at_most])
def test_what_is_missing_or_no_number_fails(
    check: Callable[[str, float | None, float, str], RuleOutcome], value: float | None
) -> None:
    outcome = check("rule", value, 0.5, "a metric")
    assert (outcome.outcome, outcome.value) == ("failed", None)
    assert (
        outcome.detail
        == f"a metric: {'missing: it was not measured' if value is None else f'{value}, not a finite number'}"
    )


def test_a_threshold_that_is_no_number_fails() -> None:
    assert check_at_least("rule", 0.5, math.nan, "").failed
    assert check_at_most("rule", 0.5, math.nan, "").failed


def test_the_threshold_itself_passes() -> None:
    assert check_at_least("rule", 0.5, 0.5, "").outcome == check_at_most("rule", 0.5, 0.5, "").outcome == "passed"


def test_a_metric_that_is_nan_or_missing_fails_every_rule_on_it() -> None:
    rules, good = make_rules(), quality(HALF)
    for bad in (None, quality([math.nan, *HALF[1:]])):
        outcomes = [
            *judge_floor(bad, good, rules),
            judge_non_inferiority("champion", bad, good, rules),
            judge_non_inferiority("champion", good, bad, rules),
        ]
        assert {outcome.outcome for outcome in outcomes} == {"failed"}
        assert decide(outcomes) == "failed"
    assert {outcome.outcome for outcome in judge_lists(None, good, rules)} == {"failed"}
    assert judge_lists(quality(HALF, coverage=math.nan), good, rules)[0].failed
    assert judge_lists(good, quality(HALF, popularity=math.nan), rules)[1].failed
    assert judge_slices(None, good, {"cold_users": np.arange(100)}, rules)[0].failed
    assert all(outcome.failed for outcome in judge_cost(None, None, rules))
    assert judge_floor(good, None, rules)[1].failed


def test_the_floor_is_absolute_and_over_popularity() -> None:
    rules = make_rules(floor_ndcg_at_10=0.4, floor_times_popularity=2)
    outcomes = judge_floor(quality(HALF), quality([0.375] * 1000), rules)
    assert [(each.outcome, each.threshold) for each in outcomes] == [("passed", 0.4), ("failed", 0.75)]


def test_the_bound_of_a_constant_ratio_is_that_ratio() -> None:
    # Every user loses a tenth, so every resample does, whoever is drawn.
    worse = quality(np.array(HALF) * 0.9)
    assert judge_non_inferiority("champion", worse, quality(HALF), make_rules()).value == pytest.approx(-0.1)
    assert (
        judge_non_inferiority("champion", worse, quality(HALF), make_rules(margin_by_users={0: 0.11})).outcome
        == "passed"
    )
    assert judge_non_inferiority("champion", worse, quality(HALF), make_rules(margin_by_users={0: 0.09})).failed


def test_more_users_get_the_smaller_margin() -> None:
    rules = make_rules(margin_by_users={0: 0.3, 1000: 0.1})
    few, many = (judge_non_inferiority("champion", quality(HALF[:n]), quality(HALF[:n]), rules) for n in (998, 1000))
    assert (few.threshold, many.threshold) == (-0.3, -0.1)


def test_against_a_champion_that_never_hits_anything_is_better() -> None:
    nothing = quality(np.zeros(1000))
    assert judge_non_inferiority("champion", quality(np.ones(1000)), nothing, make_rules()).outcome == "passed"
    tie = judge_non_inferiority("champion", nothing, nothing, make_rules())
    assert (tie.outcome, tie.value) == ("passed", 0)


def test_slices_are_corrected_for_their_number() -> None:
    # Slice a loses 42 of 100 hits, b and c nothing: alone p is far below, so it fails in any company.
    champion, challenger = np.ones(300), np.ones(300)
    challenger[:42] = 0
    slices = {name: np.arange(start, start + 100) for name, start in (("a", 0), ("b", 100), ("c", 200))}
    outcomes = judge_slices(quality(challenger), quality(champion), slices, make_rules())
    assert {each.rule: each.outcome for each in outcomes} == {
        "slice_a": "failed",
        "slice_b": "passed",
        "slice_c": "passed",
    }
    # 17 of 100 against a margin of a tenth: p is about 0.04, proven alone but not as one of three.
    challenger[:42] = 1
    challenger[:17] = 0
    alone = judge_slices(quality(challenger), quality(champion), {"a": slices["a"]}, make_rules())
    together = judge_slices(quality(challenger), quality(champion), slices, make_rules())
    assert alone[0].failed
    assert not any(each.failed for each in together)


def test_a_slice_of_few_users_is_skipped() -> None:
    outcomes = judge_slices(quality(HALF), quality(HALF), {"cold_users": np.arange(49)}, make_rules())
    assert outcomes[0].outcome == "skipped: 49 users, min_slice_users: 50"


def test_lists_may_not_narrow_or_lean_to_the_popular() -> None:
    champion = quality(HALF, coverage=0.5, popularity=0.8)
    narrow = judge_lists(quality(HALF, coverage=0.34), champion, make_rules())
    assert [each.outcome for each in narrow] == ["failed", "passed"]
    popular = judge_lists(quality(HALF, popularity=0.86), champion, make_rules())
    assert [each.outcome for each in popular] == ["passed", "failed"]


def test_cost_is_judged_absolutely_and_against_the_champion() -> None:
    rules = make_rules(max_latency_ms=50, max_size_mb=100, max_latency_ratio=2, max_size_ratio=2)
    outcomes = {each.rule: each.outcome for each in judge_cost(Cost(30, 90), Cost(10, 50), rules)}
    assert outcomes == {
        "latency": "passed",
        "size": "passed",
        "latency_over_champion": "failed",
        "size_over_champion": "passed",
    }
    assert [each.outcome for each in judge_cost(Cost(51, 101), None, rules)] == ["failed", "failed"]


def test_examples_in_the_docstrings() -> None:
    outcome = doctest.testmod(judge)
    assert outcome.attempted >= 5
    assert outcome.failed == 0


def test_the_memory_limit_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = np.random.default_rng(1).random((2, 30))
    whole = resample_relative(first, second, samples=100)
    monkeypatch.setattr(judge, "ENTRIES_AT_ONCE", 7 * 30)
    assert resample_relative(first, second, samples=100) == pytest.approx(whole, rel=1e-12)


def test_drawing_distinct_pairs_is_drawing_users() -> None:
    source = np.random.default_rng(1)
    first, second = source.choice([0, 0.5, 1], size=(2, 400))
    ours = resample_relative(first, second, samples=20_000)
    means = bootstrap_means(np.stack([first, second], axis=1), samples=20_000)
    theirs = means[:, 0] / means[:, 1] - 1
    for level in (0.01, 0.05, 0.1, 0.5, 0.95):
        assert np.quantile(ours, level) == pytest.approx(np.quantile(theirs, level), abs=0.01)


def test_the_bound_is_exceeded_as_often_as_the_level_says() -> None:
    # True difference 0, 600 users, a tenth of whom are won and as many lost.
    source, level, above = np.random.default_rng(2), 0.1, 0
    for _ in range(400):
        first, second = source.choice([[1, 0], [0, 1], [1, 1]], p=[0.1, 0.1, 0.8], size=600).T.astype(float)
        above += lower_bound(resample_relative(first, second, 1000), level) > 0
    assert 0.05 < above / 400 < 0.16


def test_a_p_value_is_never_zero() -> None:
    assert harm_p_value(np.full(999, -1.0), 0.1) == 0.001


def test_holm_stops_at_the_first_that_stands() -> None:
    assert reject_holm({"a": 0.02, "b": 0.06, "c": 0.001}, 0.05) == {"a", "c"}
    assert reject_holm({"a": 0.02}, 0.05) == {"a"}
    assert reject_holm({}, 0.05) == set()
