"""Records a line, in JSON or as Python prints them, and JSON arrays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from formats import PACK, ROWS, read, read_items

from ur4rec.data.errors import DataError

RECORDS = [
    {"user_id": "1", "item_id": "9", "timestamp": 100, "rating": 4.5, "images": [], "text": 'it\'s "fine"\n\\'},
    {"user_id": "1", "item_id": "7", "timestamp": 200, "rating": 3, "style": {"Format:": " Hardcover"}},
    {"user_id": "2", "item_id": "9", "timestamp": 150, "rating": 5.0, "text": "é 卧"},
]
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS)
LITERALS = "".join(f"{record!r}\n" for record in RECORDS)
EXPECTED = ROWS | {"timestamp": [100, 200, 150]}


def ids(table: Any) -> dict[str, list[Any]]:
    return dict(table.columns.select(list(ROWS)).to_pydict())


@pytest.mark.parametrize(
    ("content", "called"),
    [
        (LINES, "JSON lines"),
        (LINES.replace("\n", "\r\n"), "JSON lines"),
        (LINES.rstrip("\n"), "JSON lines"),
        ("\n" + LINES.replace("\n", "\n  \n"), "JSON lines"),
        ("\ufeff" + LINES, "JSON lines"),
        ("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS), "JSON lines"),
        (LITERALS, "lines of Python literals"),
        (LITERALS.replace("{'", "{u'").replace(": '", ": u'"), "lines of Python literals"),
        (json.dumps(RECORDS), "JSON array"),
        (json.dumps(RECORDS, indent=2), "JSON array"),
    ],
    ids=["plain", "windows", "no end", "blank", "mark", "utf-8", "literals", "python 2", "array", "indented"],
)
@pytest.mark.parametrize("name", ["reviews.json", "reviews.jsonl", "reviews.txt"])
def test_records_are_rows(content: str, called: str, name: str, tmp_path: Path) -> None:
    table = read(tmp_path / name, content)
    assert ids(table) == EXPECTED
    assert table.columns["rating"].to_pylist() == [4.5, 3, 5]
    assert table.read_as == called
    assert set(table.unused) == {"images", "text", "style"}


def test_compressed_and_in_another_encoding(tmp_path: Path) -> None:
    table = read(tmp_path / "reviews.json.gz", PACK["gzip"](LINES.encode("utf-16")))
    assert ids(table) == EXPECTED
    assert table.read_as == "gzip-compressed JSON lines in utf-16"


@pytest.mark.parametrize(("content", "line"), [(LINES, 3), ("\n" + LINES.replace("\n", "\n\n"), 6), (LITERALS, 3)])
def test_records_are_located_by_their_lines(content: str, line: int, tmp_path: Path) -> None:
    assert read(tmp_path / "reviews.json", content).locate(2) == f"line {line}"


def test_entries_of_an_array_are_located_by_their_numbers(tmp_path: Path) -> None:
    assert read(tmp_path / "reviews.json", json.dumps(RECORDS)).locate(2) == "object 3"


@pytest.mark.parametrize(
    "broken",
    [
        '{"user_id": "1", "item_id"',
        "[1, 2]",
        "word",
        '{"user_id": "1"}}',
        "{'user_id': '1'}",
    ],
)
def test_a_line_that_is_no_record_is_counted_and_found(broken: str, tmp_path: Path) -> None:
    lines = LINES.splitlines()
    table = read(tmp_path / "reviews.jsonl", "\n".join([*lines[:2], broken, lines[2]]))
    assert ids(table) == EXPECTED
    assert (table.num_ragged, table.num_rows) == (1, 4)
    assert table.locate_ragged() == "line 3 (no object of JSON lines)"
    assert table.locate(2) == "line 4"


@pytest.mark.parametrize(
    "broken",
    [
        "{'user_id': open('x')}",
        "{'user_id': 'a' + 1j}",
        "{'user_id': __import__('os')}",
        "{'user_id': " + "[" * 99,
        "{'a",
    ],
)
def test_a_literal_that_is_none_is_counted_and_not_run(broken: str, tmp_path: Path) -> None:
    table = read(tmp_path / "steam.json", LITERALS + broken + "\n")
    assert (table.num_ragged, table.num_rows) == (1, 4)
    assert table.locate_ragged() == "line 4 (no object of lines of Python literals)"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, "c"], ["1", "2", "c"]),
        ([1, None, 3], [1, None, 3]),
        (["2017-01-01", "2017-01-02", "x"], ["2017-01-01", "2017-01-02", "x"]),
        ([1, 2**63, 3], ["1", "9223372036854775808", "3"]),
        ([9007199254740993, 2, 3], [9007199254740993, 2, 3]),
        (["1", 2, None], ["1", "2", None]),
    ],
    ids=["mixed", "missing", "dates", "large", "exact", "text first"],
)
def test_ids_keep_their_digits_whatever_their_types(values: list[Any], expected: list[Any], tmp_path: Path) -> None:
    records = [{"user_id": value, "item_id": "9", "timestamp": 1} for value in values]
    table = read(tmp_path / "reviews.json", "".join(json.dumps(record) + "\n" for record in records))
    assert table.columns["user_id"].to_pylist() == expected


def test_a_type_that_changes_below_the_first_records(tmp_path: Path) -> None:
    records = [{"user_id": n, "item_id": "9", "timestamp": 1} for n in range(2_000)]
    records += [{"user_id": "u", "item_id": "9", "timestamp": 1.5}]
    table = read(tmp_path / "reviews.json", "".join(json.dumps(record) + "\n" for record in records))
    assert table.columns["user_id"].to_pylist()[1999:] == ["1999", "u"]
    assert table.columns["timestamp"].to_pylist()[1999:] == [1.0, 1.5]


def test_what_some_records_lack_is_missing(tmp_path: Path) -> None:
    table = read(tmp_path / "reviews.json", LINES.replace('"user_id": "2", ', ""))
    assert table.columns["user_id"].to_pylist() == ["1", "1", None]


def test_lists_and_lists_of_lists_of_an_item_table(tmp_path: Path) -> None:
    record = {"item_id": "1", "title": ["A", "B"], "genres": [["Books", "Poetry"]], "description": ["One.", "Two."]}
    for content in (json.dumps(record), repr(record)):
        table = read_items(tmp_path / "meta.json", content + "\n")
        assert table.columns.to_pydict() == {
            "item_id": ["1"],
            "title": ["A B"],
            "genres": [[["Books", "Poetry"]]],
            "description": [["One.", "Two."]],
        }


@pytest.mark.parametrize("content", ['{\n "user_id": 1\n}\n', "{'a\n", '{"a": 1]\n'])
def test_no_record_at_all(content: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"reviews\.json, line 1 .*an object a line"):
        read(tmp_path / "reviews.json", content)


@pytest.mark.parametrize("content", ['[{"user_id": 1}', "[{]", "[\n"])
def test_an_array_that_is_none(content: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"reviews\.json: not readable as a JSON array \(.*\); write one object a line"):
        read(tmp_path / "reviews.json", content)


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"reviews\.json, first line: no column 'item_id'"):
        read(tmp_path / "reviews.json", LINES.replace("item_id", "thing"))
