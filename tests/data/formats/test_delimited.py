"""CSV and its relatives."""

from __future__ import annotations

from pathlib import Path

import pytest
from formats import CSV, ROWS, read, read_items

from ur4rec.data.errors import DataError

WORDS = {"\t": "tabs", ";": "semicolons", "|": "bars", "::": "double colons"}


@pytest.mark.parametrize("name", ["plays.csv", "plays.tsv", "plays.txt", "plays.dat", "plays"])
@pytest.mark.parametrize("separator", WORDS)
def test_the_separator_is_found_and_told(separator: str, name: str, tmp_path: Path) -> None:
    table = read(tmp_path / name, CSV.replace(",", separator))
    assert table.columns.select(list(ROWS)).to_pydict() == ROWS
    assert table.read_as == f"CSV separated by {WORDS[separator]}"
    assert table.used == {"user_id": "user_id", "item_id": "item_id", "timestamp": "timestamp", "rating": "rating"}


def test_columns_without_a_role_are_named(tmp_path: Path) -> None:
    table = read(tmp_path / "plays.csv", "note,user_id,item_id,timestamp,page\nx,1,9,100,3\n")
    assert table.unused == ("note", "page")


def test_quotes_hold_separators_and_line_breaks(tmp_path: Path) -> None:
    table = read_items(tmp_path / "items.csv", 'item_id;title\n1;"A; ""B""\nC"\n2;D\n')
    assert table.columns["title"].to_pylist() == ['A; "B"\nC', "D"]
    assert table.locate(1) == "line 4"


def test_a_ragged_row_is_counted_and_found(tmp_path: Path) -> None:
    table = read(tmp_path / "plays.tsv", "user_id\titem_id\ttimestamp\n1\t2\t3\n1\t2\n1\t3\t4\n")
    assert (table.num_ragged, table.num_rows) == (1, 3)
    assert table.locate_ragged() == "line 3 (2 fields instead of 3)"
    assert table.locate(1) == "line 4"


@pytest.mark.parametrize("title", ['"He said \\"hi\\""', '"A \\"quoted\\" B"', '"x\\" y"'])
def test_a_backslash_before_a_quote_is_named(title: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"items\.csv, line 3: a quote inside of quotes, which no backslash"):
        read_items(tmp_path / "items.csv", f"item_id,title\n1,A\n2,{title}\n3,B\n")


@pytest.mark.parametrize(
    ("field", "title"),
    [
        ('"C:\\films\\"', "C:\\films\\"),
        ('5\\" disc', '5\\" disc'),
        ('"{""a"": ""b\\""c""}"', '{"a": "b\\"c"}'),
    ],
)
def test_backslashes_that_end_no_field_stay(field: str, title: str, tmp_path: Path) -> None:
    table = read_items(tmp_path / "items.csv", f"item_id,title\n1,{field}\n2,B\n")
    assert table.columns["title"].to_pylist() == [title, "B"]


def test_decimal_commas_beside_semicolons(tmp_path: Path) -> None:
    table = read(tmp_path / "plays.csv", "user_id;item_id;timestamp;rating\n1,5;9;100,25;4,5\n2;9;200;3\n")
    assert table.columns.to_pydict() == {
        "user_id": ["1,5", "2"],
        "item_id": ["9", "9"],
        "timestamp": ["100.25", "200"],
        "rating": ["4.5", "3"],
    }


def test_a_stray_quote_that_another_one_closes_is_named(tmp_path: Path) -> None:
    rows = [f"{user};9;{100 + user};4" for user in range(9)]
    rows[2], rows[6] = (row.replace(";4", ';"4') for row in (rows[2], rows[6]))
    content = "user_id;item_id;timestamp;note\n" + "\n".join(rows) + "\n"
    with pytest.raises(DataError, match=r"plays\.csv, line 4: a quote is opened and closed within a field of line 8;"):
        read(tmp_path / "plays.csv", content)


@pytest.mark.parametrize("row", ['3;9;"2017', '"3;9;300', '3;9;300"\n4;9;"400'])
def test_a_quote_that_nothing_closes_is_named(row: str, tmp_path: Path) -> None:
    content = "user_id;item_id;timestamp\n1;9;100\n" + row + "\n5;9;500\n6;9;600\n"
    with pytest.raises(
        DataError, match=r"plays\.csv, line [34].*: a quote is opened and never closed; double or drop it"
    ):
        read(tmp_path / "plays.csv", content)


def test_an_odd_quote_inside_of_a_field_is_text(tmp_path: Path) -> None:
    table = read_items(tmp_path / "items.csv", 'item_id,title\n1,5" disc\n2,"A\nB"\n')
    assert table.columns["title"].to_pylist() == ['5" disc', "A\nB"]


@pytest.mark.parametrize("content", [CSV.splitlines()[0], CSV.splitlines()[0] + "\n\n\n"])
def test_only_a_header(content: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"plays\.tsv: no rows below the column names"):
        read(tmp_path / "plays.tsv", content.replace(",", "\t"))
