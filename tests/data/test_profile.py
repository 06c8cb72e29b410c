"""Numbers worked out by hand from a few rows; in the comments, a history is a word and a user a letter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.profile import SAMPLED_TITLES, count_tied_targets, measure_scripts, profile_rows
from ur4rec.data.selection import Part, Rows, share_newest_first, sort_rows

HEADER = "user_id,item_id,timestamp\n"


def make_rows(users: list[int], items: list[int], times: list[float], parts: list[int]) -> Rows:
    return Rows(np.array(users), np.array(items), np.array(times, dtype=float), np.array(parts, dtype=np.int8))


def test_histories_and_repeats() -> None:
    """User 0 has abab, user 2 abc, user 3 aaaaa; user 1 was left out."""
    rows = make_rows(
        [0, 0, 0, 0, 2, 2, 2, 3, 3, 3, 3, 3],
        [0, 1, 0, 1, 0, 1, 2, 0, 0, 0, 0, 0],
        [1, 2, 3, 4, 1, 2, 3, 1, 2, 3, 4, 5],
        [0, 0, 1, 2, 0, 1, 2, 0, 0, 0, 1, 2],
    )
    assert profile_rows(rows, pa.array(["p", "q", "r", "s"])) == {
        "histories": {"median": 4.0, "largest": 5, "largest_user": "s"},
        "repeats": {"train": 2, "val": 2, "test": 2},
    }


def test_an_unused_row_is_no_part_of_a_history() -> None:
    rows = make_rows([0, 0, 0, 0], [0, 1, 0, 0], [1, 2, 3, 4], [0, 0, 2, Part.UNUSED])
    profile = profile_rows(rows, pa.array(["p"]))
    assert profile["histories"]["largest"] == 3
    assert profile["repeats"] == {"train": 0, "val": 0, "test": 1}


@pytest.mark.parametrize(
    ("times", "parts", "expected"),
    [
        ([1, 2, 3], [0, 1, 2], 0),
        ([1, 3, 3], [0, 1, 2], 1),
        ([3, 3, 4], [0, 1, 2], 0),
        ([1, 2.25, 2.75], [0, 1, 2], 0),
        ([1, 2, 2], [0, 2, Part.UNUSED], 1),
    ],
    ids=["none", "with the row before", "not of the target", "fractions decide", "with the row after, by a time split"],
)
def test_tied_targets(times: list[float], parts: list[int], expected: int) -> None:
    assert count_tied_targets(make_rows([0, 0, 0], [0, 1, 2], times, parts)) == expected


def test_the_target_of_the_next_user_is_no_tie() -> None:
    assert count_tied_targets(make_rows([0, 0, 0, 1, 1, 1], [0, 1, 2] * 2, [1, 2, 3, 3, 4, 5], [0, 1, 2] * 2)) == 0


@pytest.mark.parametrize(
    ("times", "expected"),
    [([1, 2, 3, 1, 2, 3], 0.0), ([3, 2, 1, 3, 2, 1], 1.0), ([3, 2, 1, 1, 2, 3], 0.5), ([3, 1, 2, 5, 5, 5], 0.0)],
    ids=["oldest first", "newest first", "both", "neither, and a user of one time"],
)
def test_the_direction_of_a_file(times: list[float], expected: float) -> None:
    users, seconds = np.array([0, 0, 0, 1, 1, 1]), np.array(times, dtype=float)
    order = sort_rows(users, seconds)
    assert share_newest_first(users[order], seconds[order], order) == expected


def test_a_file_of_one_time_has_no_direction() -> None:
    assert share_newest_first(np.zeros(3, dtype=int), np.ones(3), np.arange(3)) == 0.0


@pytest.mark.parametrize(
    ("titles", "expected"),
    [
        ([], {}),
        (["1984", "?!", ""], {}),
        (["ABcd", "ÄÉ"], {"Latin": 1.0}),
        (["ＡＢ", "ｶﾅ"], {"Latin": 0.5, "Katakana": 0.5}),
        (["寄生虫", "올드보이", "ڤ"], {"Hangul": 0.5, "Han": 0.375, "Arabic": 0.125}),
        (["a" * 2000 + "я"], {"Latin": 0.9995}),
    ],
    ids=["none", "no letters", "Latin", "full and half width", "three", "too few to tell"],
)
def test_scripts(titles: list[str], expected: dict[str, float]) -> None:
    assert measure_scripts(titles) == expected


def test_scripts_of_many_titles_are_those_of_some() -> None:
    assert measure_scripts(["a", "я"] * (3 * SAMPLED_TITLES)) == {"Latin": 0.5, "Cyrillic": 0.5}


def test_the_manifest_has_the_numbers(tmp_path: Path) -> None:
    """Histories by time: u aba (b and the last a at one time), v cab."""
    (tmp_path / "plays.csv").write_text(HEADER + "u,b,3\nu,a,3\nu,a,1\nv,b,9\nv,a,8\nv,c,7\n")
    (tmp_path / "songs.csv").write_text("item_id,title\na,Aria\nb,Ария\n")
    details = preprocess_sequences(
        tmp_path / "plays.csv", tmp_path / "seq", DataConfig(), tmp_path / "songs.csv"
    ).details
    assert details["histories"] == {"median": 3.0, "largest": 3, "largest_user": "u"}
    assert details["repeats"] == {"train": 0, "val": 0, "test": 1}
    assert details["timestamps"]["tied_targets"] == 1
    assert details["timestamps"]["newest_first"] == 1.0
    assert details["title_scripts"] == {"Latin": 0.5, "Cyrillic": 0.5}  # an id that stands in for a title is none
    assert set(details["reading"]) == {"interactions", "items"}


def test_what_is_excluded_counts_nowhere(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user_id": list("aaaabb"), "item_id": list("xyzwxx"), "timestamp": range(6)})
    frame.to_csv(tmp_path / "plays.csv", index=False)
    details = preprocess_sequences(tmp_path / "plays.csv", tmp_path / "seq", DataConfig()).details
    assert details["repeats"] == {"train": 0, "val": 0, "test": 0}
    assert details["histories"]["median"] == 4.0
