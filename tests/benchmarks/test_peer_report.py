from pathlib import Path

import numpy as np
import pytest

from benchmarks.peer_exchange import Point, Run
from benchmarks.peer_jobs import BenchmarkError, Job, System
from benchmarks.peer_report import Measured, choose_best, compare, compare_all, summarize
from benchmarks.peer_settings import Setting

SECOND_OF_THREE = 0.6309297535714575  # 1 / log2(3)


def make_run(*scores: float, uncounted: int = 0, seconds: float = 10.0) -> Run:
    """One validation every `seconds`; the first `uncounted` ones are not the system's own score."""
    curve = tuple(
        Point(number, score, number * seconds, number * seconds * 2, number * 1.0, number > uncounted)
        for number, score in enumerate(scores, 1)
    )
    ranks = np.array([[2, 2]])
    return Run(curve, {"validation": ranks, "test": ranks}, 1.5, 100.0, 50.0, {})


def measured(system: System, run: Run, name: str = "any") -> Measured:
    job = Job(system, Setting(name, "a test"), "module", Path("python"), {})
    return Measured(job, run, summarize(run))


def test_figures_are_those_of_the_best_validation() -> None:
    figures = summarize(make_run(0.1, SECOND_OF_THREE, SECOND_OF_THREE, 0.2))
    assert (figures.best_epoch, figures.epochs) == (2, 4)
    assert (figures.wall_s, figures.cpu_s, figures.validation_s, figures.total_wall_s) == (20.0, 40.0, 2.0, 40.0)
    assert figures.test_ndcg_10 == pytest.approx(SECOND_OF_THREE)
    assert figures.test_hit_10 == 1.0


def test_ranks_that_contradict_the_curve_are_refused() -> None:
    with pytest.raises(BenchmarkError, match=r"0\.6309.*0\.9000 at epoch 1"):
        summarize(make_run(0.9))


def test_a_score_of_a_part_is_not_the_systems() -> None:
    run = make_run(0.9, 0.3, SECOND_OF_THREE, uncounted=1)
    assert summarize(run).best_epoch == 3


def test_time_to_the_peers_best() -> None:
    comparison = compare("ours", make_run(0.2, 0.4, 0.6, seconds=5.0), "peer", make_run(0.1, 0.35, 0.3, seconds=60.0))
    assert (comparison.target, comparison.seconds, comparison.peer_seconds) == (0.35, 10.0, 120.0)
    assert (comparison.ratio, comparison.cpu_ratio) == (12.0, 12.0)


def test_a_score_that_is_never_reached_has_no_ratio() -> None:
    comparison = compare("ours", make_run(0.2), "peer", make_run(0.3))
    assert (comparison.seconds, comparison.ratio, comparison.cpu_ratio) == (None, None, None)


def test_the_best_setting_by_validation_stands_for_a_system() -> None:
    low = measured(System.RECBOLE, make_run(SECOND_OF_THREE - 5e-4), "low")
    high = measured(System.RECBOLE, make_run(SECOND_OF_THREE, seconds=70.0), "high")
    ours = measured(System.STAGE_1, make_run(SECOND_OF_THREE))
    assert choose_best([low, high, ours])[System.RECBOLE] is high
    (comparison,) = compare_all([ours, low, high])
    assert (comparison.ours, comparison.peer, comparison.ratio) == ("ur4rec-stage1", "recbole", 7.0)
