import doctest
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import peer_exchange
from benchmarks.peer_exchange import HORIZONS, Recorder, Run, Split
from ur4rec.data.sequences import Histories
from ur4rec.ranking.ranks import Scorer

TARGETS = {"validation": np.array([[1, 3, 0], [2, 1, 0]]), "test": np.array([[1, 4, 0], [2, 4, 0]])}


def make_split() -> Split:
    """Two users, four items; item 1 is popular with user 1 and unseen by user 2."""
    before = Histories(np.array([0, 0, 2, 3]), np.array([1, 2, 2]), np.array([5, 6, 7]))
    after = Histories(np.array([0, 0, 3, 5]), np.array([1, 2, 3, 2, 1]), np.arange(5))
    return Split(4, {"validation": before, "test": after}, TARGETS)


def score_by_number(_histories: Histories | None) -> Scorer:
    """Scores fall with the item's number; column 0 is padding."""
    return lambda users: -torch.arange(5.0).repeat(len(users), 1)


def test_doctests() -> None:
    failed, attempted = doctest.testmod(peer_exchange)
    assert attempted > 0
    assert failed == 0


def test_a_split_survives_its_file_without_pickle(tmp_path: Path) -> None:
    split = make_split()
    split.save(tmp_path / "split.npz")
    loaded = Split.load(tmp_path / "split.npz")
    assert loaded.num_items == 4
    for horizon in HORIZONS:
        assert loaded.targets[horizon].tolist() == split.targets[horizon].tolist()
        assert loaded.seen[horizon].items.tolist() == split.seen[horizon].items.tolist()
        assert loaded.seen[horizon].offsets.tolist() == split.seen[horizon].offsets.tolist()


def test_seen_items_do_not_compete() -> None:
    split = make_split()
    assert split.rank(score_by_number(None), "validation").tolist() == [[1, 1], [1, 1]]  # 3 behind seen 1, 2; 1 leads
    assert split.rank(score_by_number(None), "test").tolist() == [[1, 1], [2, 2]]  # user 2 has not seen 3


def test_what_may_come_again_competes(tmp_path: Path) -> None:
    replace(make_split(), excludes_seen=False).save(tmp_path / "split.npz")
    split = Split.load(tmp_path / "split.npz")
    assert split.rank(score_by_number(None), "validation").tolist() == [[3, 3], [1, 1]]


@pytest.mark.parametrize(("patience", "limit_s", "ends"), [(2, 1000.0, 4), (None, 25.0, 3), (None, 1000.0, None)])
def test_training_ends_without_progress_or_time(
    monkeypatch: pytest.MonkeyPatch, patience: int | None, limit_s: float, ends: int | None
) -> None:
    times = iter(range(0, 1000, 10))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(times)))
    recorder = Recorder(make_split(), "toy", limit_s, patience)
    recorder.start()
    stops = []
    for epoch, score in enumerate([0.1, 0.3, 0.2, 0.3, 0.3, 0.1], 1):
        recorder.observe(epoch, score, 0.0)
        stops.append(recorder.must_stop)
    assert (stops.index(True) + 1 if True in stops else None) == ends
    assert recorder.is_late == (limit_s < 100)


def test_equal_scores_have_the_mean_over_the_places() -> None:
    """User 1 has two unseen items, user 2 has three."""
    recorder = Recorder(make_split(), "toy")
    recorder.start()
    score, _ = recorder.validate(lambda users: torch.zeros(len(users), 5))
    second, third = 1 / np.log2(3), 1 / 2
    assert score == pytest.approx(((1 + second) / 2 + (1 + second + third) / 3) / 2)


def test_a_recorder_notes_scores_clocks_and_the_best(tmp_path: Path) -> None:
    recorder = Recorder(make_split(), "toy")
    recorder.start()
    score, is_best = recorder.validate(lambda users: torch.arange(5.0).repeat(len(users), 1))
    assert score == pytest.approx(0.5655, abs=1e-4)
    assert is_best is True
    assert recorder.validate(score_by_number(None)) == (1.0, True)
    assert recorder.validate(score_by_number(None)) == (1.0, False)
    assert not recorder.observe(3, 2.0, 0.5, counted=False)
    assert not recorder.observe(4, 1.0, 0.5)
    run = recorder.finish(score_by_number, ["numpy"], {"rate": 3})
    assert [point.epoch for point in run.curve] == [1, 2, 3, 3, 4]
    assert [point.counted for point in run.curve] == [True, True, True, False, True]
    walls = [point.wall_s for point in run.curve]
    assert walls == sorted(walls)
    assert run.curve[-1].validation_s >= 1.0
    assert run.versions == {"numpy": np.__version__}
    run.save(tmp_path / "run.npz")
    loaded = Run.load(tmp_path / "run.npz")
    assert loaded.curve == run.curve
    assert loaded.ranks["validation"].tolist() == [[1, 1], [1, 1]]
    assert loaded.ranks["test"].tolist() == [[1, 1], [2, 2]]
    assert (loaded.versions, loaded.users_per_s) == (run.versions, run.users_per_s)
    assert (loaded.chosen, loaded.cut_short) == ({"rate": 3}, False)


def test_a_recorder_goes_on_with_curve_and_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(0, 1000, 10))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(times)))
    first = Recorder(make_split(), "toy")
    first.start()
    first.observe(1, 0.5, 1.0)
    state = first.state()
    second = Recorder(make_split(), "toy")
    second.start()
    second.restore(state)
    assert not second.observe(2, 0.4, 1.0)
    assert second.observe(3, 0.6, 1.0)
    assert [point.epoch for point in second.curve] == [1, 2, 3]
    assert [point.wall_s for point in second.curve] == [10.0, 30.0, 40.0]
    assert [point.validation_s for point in second.curve] == [1.0, 2.0, 3.0]
    assert second.preparation_s == 10.0
