"""Counts by hand, and what they may look at."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ur4rec.auto.statistics import DataStatistics, measure, summarise
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import load_sequences


@pytest.mark.parametrize(
    ("lengths", "short", "median", "long"),
    [
        ([7], 7, 7, 7),
        ([1, 9], 1, 9, 9),
        ([5, 1, 3], 1, 3, 5),
        ([*range(1, 21)], 3, 11, 18),
        ([1] * 10 + [50] * 90, 50, 50, 50),
        ([1] * 11 + [50] * 89, 1, 50, 50),
        ([4] * 90 + [30_000] * 10, 4, 4, 4),
        ([4] * 89 + [30_000] * 11, 4, 4, 30_000),
    ],
    ids=str,
)
def test_quantiles_are_lengths_of_histories(lengths: list[int], short: int, median: int, long: int) -> None:
    found = summarise(np.array(lengths)[::-1], 50)
    assert found == DataStatistics(len(lengths), 50, sum(lengths), short, median, long)
    for least, share in ((found.short, 0.9), (found.median, 0.5)):
        assert np.mean(np.array(lengths) >= least) >= share
        assert np.mean(np.array(lengths) >= least + 1) < share
    assert np.mean(np.array(lengths) <= found.long) >= 0.9


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    rows = [f"u{user},i{(user * 7 + step) % 9},{step}" for user in range(1, 11) for step in range(user + 2)]
    (tmp_path / "plays.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    preprocess_sequences(tmp_path / "plays.csv", tmp_path / "sequences", DataConfig())
    return tmp_path / "sequences"


def test_a_history_is_a_training_prefix(sequences: Path) -> None:
    assert measure(load_sequences(sequences)) == DataStatistics(10, 9, 55, short=2, median=6, long=9)


def test_targets_are_not_looked_at(sequences: Path) -> None:
    data = load_sequences(sequences)
    none = np.empty((0, 3), np.int64)
    other = replace(data, val=data.val[:1] + 3, test=none)
    assert measure(other) == measure(replace(data, val=none, test=data.test[::-1])) == measure(data)


def test_data_without_a_history_have_statistics(sequences: Path) -> None:
    data = replace(load_sequences(sequences), train=np.empty((0, 3), np.int64))
    assert measure(data) == DataStatistics(1, 9, 0, 0, 0, 0)
