"""Published files without column names, known by their first line."""

from __future__ import annotations

from pathlib import Path

import pytest
from formats import PACK, read, read_items

from ur4rec.data.errors import DataError
from ur4rec.data.tables import Table

IDS = ("user_id", "item_id", "timestamp")
CASES = {
    "ratings.dat": ("1::9::5::978300760\n2::7::3::978300761\n", "MovieLens ratings", [("1", "9", "978300760")]),
    "10m.txt": ("1::9::4.5::978300760\n", "MovieLens ratings", [("1", "9", "978300760")]),
    "u.data": ("196\t242\t3\t881250949\n", "MovieLens 100K ratings", [("196", "242", "881250949")]),
    "ua.base": ("196\t242\t3\t881250949\n", "MovieLens 100K ratings", [("196", "242", "881250949")]),
    "ratings_Beauty.csv": (
        "A39HTATAQ9V7YF,0205616461,5.0,1369699200\n",
        "Amazon 2014 ratings",
        [("A39HTATAQ9V7YF", "0205616461", "1369699200")],
    ),
    "yoochoose-clicks.dat": (
        "1,2014-04-07T10:51:09.277Z,214536502,0\n",
        "Yoochoose clicks",
        [("1", "214536502", "2014-04-07T10:51:09.277Z")],
    ),
    "yoochoose-buys.dat": (
        "420374,2014-04-06T18:44:58.314Z,214537888,12462,1\n",
        "Yoochoose buys",
        [("420374", "214537888", "2014-04-06T18:44:58.314Z")],
    ),
    "loc-gowalla_totalCheckins.txt": (
        "0\t2010-10-19T23:55:27Z\t30.2359091167\t-97.7951395833\t22847\n",
        "Gowalla check-ins",
        [("0", "22847", "2010-10-19T23:55:27Z")],
    ),
    "dataset_TSMC2014_NYC.txt": (
        "470\t49bbd6c0f964a520f4531fe3\t4bf5\tCafé\t40.7\t-74.0\t-240\tTue Apr 03 18:00:09 +0000 2012\n",
        "Foursquare check-ins",
        [("470", "49bbd6c0f964a520f4531fe3", "Tue Apr 03 18:00:09 +0000 2012")],
    ),
    "plays.tsv": (
        'user_000001\t2009-05-04T23:08:57Z\tf1b1\t"Deep\tdc39\tPlay\n',
        "LastFM-1K plays",
        [("user_000001", "dc39", "2009-05-04T23:08:57Z")],
    ),
}


def rows_of(table: Table) -> list[tuple[str, ...]]:
    return list(zip(*(table.columns[name].to_pylist() for name in IDS), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_what_stands_where_is_known(name: str, tmp_path: Path) -> None:
    content, called, expected = CASES[name]
    table = read(tmp_path / name, content)
    assert rows_of(table)[:1] == expected
    assert table.read_as == called
    assert table.locate(0) == "line 1"


@pytest.mark.parametrize("name", ["ratings.dat", "plays.tsv"])
def test_compressed_and_with_windows_line_ends(name: str, tmp_path: Path) -> None:
    content, called, expected = CASES[name]
    table = read(tmp_path / f"{name}.gz", PACK["gzip"](content.replace("\n", "\r\n").encode()))
    assert rows_of(table)[:1] == expected
    assert table.read_as == f"gzip-compressed {called}"


def test_latin_1_is_read_where_it_was_published(tmp_path: Path) -> None:
    content = CASES["dataset_TSMC2014_NYC.txt"][0].encode("latin-1")
    assert read(tmp_path / "nyc.txt", content).read_as == "Foursquare check-ins in latin-1"


def test_a_half_separator_at_the_end_of_a_block_is_kept(tmp_path: Path) -> None:
    rows = [(f"{n}", "T" * (n % 7) + f"{n}: of: (1999)", "Drama") for n in range(1, 200_000)]
    table = read_items(tmp_path / "movies.dat", "".join("::".join(row) + "\n" for row in rows))
    assert table.columns["title"].to_pylist() == [row[1] for row in rows]


@pytest.mark.parametrize(
    "content",
    [
        "5\t9\t3\t881250949\n",
        "B000001,A00001,5.0,1369699200\n",
        "1,2,3\n",
        "1;2014-04-07;3\n",
    ],
    ids=["four tabs", "items first", "numbers", "dates"],
)
def test_what_might_be_otherwise_is_a_question(content: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"plays\.csv, first line: .* are no column names; .*--set columns=user_id=1,item_id=2"
    ):
        read(tmp_path / "plays.csv", content)


def test_positions_answer_it(tmp_path: Path) -> None:
    columns = {"user_id": "2", "item_id": "1", "timestamp": "4", "rating": "3"}
    table = read(tmp_path / "All_Beauty.csv", "B000001,A00001,5.0,1369699200\n", columns=columns)
    assert rows_of(table) == [("A00001", "B000001", "1369699200")]
    assert (table.read_as, table.unused, table.locate(0)) == ("CSV without column names", (), "line 1")
    assert table.used == columns


@pytest.mark.parametrize("separator", ["\t", ";", "|", " ", "::"])
def test_positions_with_any_separator(separator: str, tmp_path: Path) -> None:
    columns = {"user_id": "1", "item_id": "3", "timestamp": "2"}
    table = read(tmp_path / "plays.tsv", f"7{separator}100{separator}9\n8{separator}200{separator}9\n", columns=columns)
    assert rows_of(table) == [("7", "9", "100"), ("8", "9", "200")]


def test_positions_of_columns_that_have_names(tmp_path: Path) -> None:
    columns = {"user_id": "2", "item_id": "1", "timestamp": "3"}
    table = read(tmp_path / "plays.csv", "was,wer,wann\ni1,u1,100\n", columns=columns)
    assert rows_of(table) == [("u1", "i1", "100")]
    assert table.used == {"user_id": "wer", "item_id": "was", "timestamp": "wann"}


def test_a_known_layout_gives_way_to_positions(tmp_path: Path) -> None:
    columns = {"user_id": "2", "item_id": "1", "timestamp": "4"}
    table = read(tmp_path / "u.data", "196\t242\t3\t881250949\n", columns=columns)
    assert rows_of(table) == [("242", "196", "881250949")]
