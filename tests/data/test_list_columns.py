"""Lists of items and times in one row, taken apart."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ur4rec.data.errors import DataError
from ur4rec.data.tables import ReadOptions, Table, read_table

REQUIRED = ("user_id", "item_id", "timestamp")
EXPECTED = {"user_id": [1, 1, 2], "item_id": [9, 7, 9], "timestamp": [100, 200, 150]}


def read(path: Path, **columns: object) -> Table:
    pq.write_table(pa.table(columns), path)
    return read_table(path, REQUIRED, ("rating",))


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list])
def test_a_row_a_user_is_a_row_an_interaction(kind: type, tmp_path: Path) -> None:
    items, times = pa.array([[9, 7], [9]], kind(pa.int64())), pa.array([[100, 200], [150]], kind(pa.int64()))
    table = read(tmp_path / "plays.parquet", user_id=[1, 2], item_id=items, timestamp=times, rating=[4.0, 5.0])
    assert table.columns.to_pydict() == EXPECTED | {"rating": [4.0, 4.0, 5.0]}
    assert [table.locate(row) for row in range(3)] == ["row 1", "row 1", "row 2"]
    assert not table.are_positions


def test_lists_of_ratings_too(tmp_path: Path) -> None:
    columns = {"user_id": [1], "item_id": [[9, 7]], "timestamp": [[1, 2]], "rating": [[3, 4]]}
    assert read(tmp_path / "plays.parquet", **columns).columns["rating"].to_pylist() == [3, 4]


def test_without_times_positions_stand_in(tmp_path: Path) -> None:
    table = read(tmp_path / "plays.parquet", user_id=["a", "b"], item_id=[[9, 7], [8]], genres=[[1, 1], [2]])
    assert table.columns.to_pydict() == {"user_id": ["a", "a", "b"], "item_id": [9, 7, 8], "timestamp": [0, 1, 0]}
    assert table.are_positions
    assert table.unused == ("genres",)


def test_a_user_without_items_has_no_row(tmp_path: Path) -> None:
    columns = {"user_id": [1, 2, 3], "item_id": [[9], [], None], "timestamp": [[1], [], None]}
    assert read(tmp_path / "plays.parquet", **columns).columns["user_id"].to_pylist() == [1]


@pytest.mark.parametrize("style", ["[{}, {}]", "['{}', '{}']", '["{}", "{}"]', "[{} {}]", "[ {}  {} ]"])
def test_lists_that_csv_holds_as_text(style: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"user_id": ["u"], "item_id": style.format("a1", "b2"), "timestamp": "[100, 200]"})
    frame.to_csv(tmp_path / "plays.csv", index=False)
    table = read_table(tmp_path / "plays.csv", REQUIRED, ())
    assert table.columns.to_pydict() == {
        "user_id": ["u", "u"],
        "item_id": ["a1", "b2"],
        "timestamp": ["100", "200"],
    }
    assert table.locate(1) == "line 2"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"user_id": [1, 1], "item_id": ["[0, 1, 2]", "[1, 2]"], "timestamp": [5, 6]},
            r"row 1, column 'item_id': .* is a list beside one timestamp; expected one row an inter",
        ),
        (
            {"user_id": [1, 1], "item_id": ["a", "[1, 2]"], "timestamp": [5, 6]},
            r"row 2, column 'item_id': '\[1, 2\]' is a",
        ),
        ({"user_id": [1], "item_id": [[1, 2]], "timestamp": [5]}, "is a list beside one timestamp"),
        (
            {"user_id": [1], "item_id": ["[1 2 ... 8 9]"], "timestamp": ["[1 2 3 4 5]"]},
            r"'\[1 2 \.\.\. 8 9\]' is a list",
        ),
        ({"user_id": [1], "item_id": ["[1 {x}\n 8 9]"], "timestamp": [5]}, "is a list"),
        ({"user_id": [[1]], "item_id": [1], "timestamp": [5]}, "column 'user_id': .* is a list beside one item"),
        ({"user_id": [[1, 2]], "item_id": [[1]], "timestamp": [[5]]}, "'user_id': .* is a list of 2 beside 1 items"),
        (
            {"user_id": [1, 2], "item_id": [[1, 2], [3, 4]], "timestamp": [[5, 6], [7]]},
            r"row 2, column 'timestamp': '\[7\]' is a list of 1 beside 2 items; .*table\.explode",
        ),
        (
            {"user_id": [1, 1], "item_id": [[1, 2], [2, 3]]},
            "row 2, column 'user_id': '1' has a second list without times",
        ),
    ],
    ids=["text", "some", "one time", "cut by numpy", "many lines", "users", "many users", "lengths", "windows"],
)
def test_lists_that_do_not_belong_together(columns: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path / "plays.parquet", **columns)


def test_a_session_of_an_atomic_file(tmp_path: Path) -> None:
    header = "session_id:token\titem_id_list:token_seq\titem_id:token\n"
    (tmp_path / "s.inter").write_text(header + "1\t5 6\t7\n2\t\t9\n")
    table = read_table(tmp_path / "s.inter", REQUIRED, (), ReadOptions(columns={"user_id": "session_id"}))
    assert table.columns["item_id"].to_pylist() == ["5", "6", "7", "9"]
    assert table.columns["timestamp"].to_pylist() == [0, 1, 2, 0]


@pytest.mark.parametrize("ids", [["[a]", "b"], ["x[1, 2]", "y"]])
def test_brackets_of_other_ids_stay(ids: list[str], tmp_path: Path) -> None:
    table = read(tmp_path / "plays.parquet", user_id=[1, 1], item_id=ids, timestamp=[5, 6])
    assert table.columns["item_id"].to_pylist() == ids
