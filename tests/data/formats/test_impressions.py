"""MIND's impressions: clicks are interactions."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from formats import read, read_items

LINES = (
    "1\tU13\t11/13/2019 8:36:57 AM\tN7 N8\tN1-0 N2-1 N3-1\n"
    "2\tU91\t11/9/2019 12:05:58 PM\t\tN1-0\n"
    "3\tU13\t11/14/2019 3:00:00 PM\tN7 N8 N2\tN9-1\n"
)


def test_clicks_alone_are_rows(tmp_path: Path) -> None:
    table = read(tmp_path / "behaviors.tsv", LINES)
    first, second = dt.datetime(2019, 11, 13, 8, 36, 57), dt.datetime(2019, 11, 14, 15, 0, 0)
    assert table.columns.to_pydict() == {
        "user_id": ["U13"] * 3,
        "item_id": ["N2", "N3", "N9"],
        "timestamp": [first, first, second],
    }
    assert table.read_as == "MIND impressions, of which clicks are used"
    assert table.unused == ("impression_id", "history")
    assert [table.locate(row) for row in range(3)] == ["line 1", "line 1", "line 3"]


def test_a_time_that_is_none_is_missing(tmp_path: Path) -> None:
    table = read(tmp_path / "behaviors.tsv", LINES + "4\tU1\tsoon\t\tN1-1\n")
    assert table.columns["timestamp"].to_pylist()[3] is None


def test_news_are_items(tmp_path: Path) -> None:
    line = 'N1\tnews\tworld\tAn "Odd" title\tWhat happened.\thttps://example.com/a.html\t[]\t[]\n'
    table = read_items(tmp_path / "news.tsv", line, columns={"genres": "category", "description": "abstract"})
    assert table.columns.to_pydict() == {
        "item_id": ["N1"],
        "title": ['An "Odd" title'],
        "genres": ["news"],
        "description": ["What happened."],
    }
