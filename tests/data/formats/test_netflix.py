"""Netflix' blocks of a film."""

from __future__ import annotations

from pathlib import Path

from formats import read

BLOCKS = "1:\n30,3,2005-09-06\n40,5,2005-05-13\n\n17:\n30,4,2005-10-19\n"


def test_ratings_belong_to_the_film_above_them(tmp_path: Path) -> None:
    table = read(tmp_path / "combined_data_1.txt", BLOCKS)
    assert table.columns.to_pydict() == {
        "user_id": ["30", "40", "30"],
        "item_id": ["1", "1", "17"],
        "timestamp": ["2005-09-06", "2005-05-13", "2005-10-19"],
        "rating": ["3", "5", "4"],
    }
    assert table.read_as == "Netflix ratings in blocks"
    assert [table.locate(row) for row in range(3)] == ["line 2", "line 3", "line 6"]


def test_a_line_that_is_no_rating_has_no_user(tmp_path: Path) -> None:
    table = read(tmp_path / "combined_data_1.txt", BLOCKS.replace("40,5,2005-05-13", "40;5;2005-05-13"))
    assert table.columns["user_id"].to_pylist() == ["30", None, "30"]
    assert table.locate(1) == "line 3"
