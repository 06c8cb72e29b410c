"""Folders of parts as one table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from formats import CSV, PACK, REQUIRED, ROWS

from ur4rec.data.errors import DataError
from ur4rec.data.tables import ReadOptions, Table, read_table

HEADER, *LINES = CSV.splitlines(keepends=True)


def write(folder: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def read(folder: Path, **options: object) -> Table:
    return read_table(folder, REQUIRED, ("rating",), ReadOptions(**options))  # type: ignore[arg-type]


def ids(table: Table) -> dict[str, list[object]]:
    return dict(table.columns.select(list(ROWS)).to_pydict())


@pytest.mark.parametrize("kind", ["", *PACK])
def test_parts_of_text_are_one_table(kind: str, tmp_path: Path) -> None:
    pack = PACK.get(kind, bytes)
    files = {"part-0": pack((HEADER + LINES[0]).encode()), "part-1": pack((HEADER + LINES[1] + LINES[2]).encode())}
    table = read(write(tmp_path, _SUCCESS=b"", **files, **{".part-0.crc": b"crc"}))
    assert ids(table) == ROWS
    assert table.read_as == f"2 parts of {kind + '-compressed ' if kind else ''}CSV"
    assert [table.locate(row) for row in range(3)] == ["part-0, line 2", "part-1, line 2", "part-1, line 3"]


def test_parts_of_parquet_with_whole_numbers_of_two_sizes(tmp_path: Path) -> None:
    for number, kind in enumerate((np.int32, np.int64)):
        frame = pd.DataFrame(
            {name: np.array([value], kind) for name, value in zip(REQUIRED, (number, 5, 7), strict=True)}
        )
        frame.to_parquet(tmp_path / f"part-{number}.snappy.parquet")
    table = read(tmp_path)
    assert table.columns["user_id"].to_pylist() == [0, 1]
    assert table.locate(1) == "part-1.snappy.parquet, row 1"


def test_folders_of_keys_are_columns(tmp_path: Path) -> None:
    write(tmp_path, **{f"user_id={n}/dt=2017-0{n}/a.csv": f"item_id,timestamp\n{n},5\n" for n in (1, 2)})
    table = read(tmp_path)
    assert table.columns.to_pydict() == {"user_id": ["1", "2"], "item_id": ["1", "2"], "timestamp": ["5", "5"]}
    assert table.unused == ("dt",)
    assert table.locate(1) == "user_id=2/dt=2017-02/a.csv, line 2"


def test_names_of_folders_are_decoded_and_none_is_missing(tmp_path: Path) -> None:
    keys = ("a%2Fb", "__HIVE_DEFAULT_PARTITION__")
    for key in keys:
        write(tmp_path, **{f"user_id={key}/a.csv": "item_id,timestamp\n1,5\n"})
    assert sorted(read(tmp_path).columns["user_id"].to_pylist()) == ["", "a/b"]


def test_empty_parts_are_left_out(tmp_path: Path) -> None:
    parts: dict[str, str | bytes] = {"part-0": HEADER, "part-1": "", "part-2": PACK["gzip"](b""), "part-3": CSV}
    table = read(write(tmp_path, **parts))
    assert ids(table) == ROWS
    assert table.locate(0) == "part-3, line 2"


def test_parts_without_column_names(tmp_path: Path) -> None:
    columns = {"user_id": "1", "item_id": "2", "timestamp": "3"}
    table = read(write(tmp_path, **{"part-0": LINES[0], "part-1": LINES[1] + LINES[2]}), columns=columns)
    assert ids(table) == ROWS


def test_a_ragged_row_is_found_in_its_part(tmp_path: Path) -> None:
    table = read(write(tmp_path, **{"part-0": HEADER + LINES[0], "part-1": HEADER + LINES[1] + "7\n"}))
    assert (table.num_ragged, table.num_rows) == (1, 3)
    assert table.locate_ragged() == "part-1, line 3 (1 fields instead of 4)"


def test_parts_with_different_columns_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path, **{"plays.csv": CSV, "songs.csv": "item_id,title\n1,A\n"})
    with pytest.raises(
        DataError, match=r"different columns, plays\.csv \(user_id, .*\) and songs\.csv \(item_id, title"
    ):
        read(folder)


def test_parts_with_different_types_are_refused(tmp_path: Path) -> None:
    for number, user in enumerate((1, "a")):
        frame = pd.DataFrame({"user_id": [user], "item_id": [5], "timestamp": [7]})
        frame.to_parquet(tmp_path / f"part-{number}.parquet")
    with pytest.raises(DataError, match="parts have columns of different types"):
        read(tmp_path)


def test_several_texts_without_times_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="several texts without times; name the one to read"):
        read(write(tmp_path, **{"train.txt": "1 5 6\n2 7 8 9\n", "test.txt": "1 9\n2 5\n"}))


@pytest.mark.parametrize("files", [{}, {"_SUCCESS": "", "part-0": ""}])
def test_no_rows_at_all(files: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no file with rows"):
        read(write(tmp_path / "plays", **files) if files else tmp_path)


def test_a_delta_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a Delta table, whose log says which files count; write it as plain Parquet"):
        read(write(tmp_path, **{"_delta_log/0.json": "{}", "part-0": CSV}))


def test_damage_is_told_by_the_part(tmp_path: Path) -> None:
    files = {"part-0": PACK["gzip"](CSV.encode()), "part-1": PACK["gzip"](CSV.encode())[:-9]}
    with pytest.raises(DataError, match="part-1: gzip-compressed, and damaged or cut off"):
        read(write(tmp_path, **files))
