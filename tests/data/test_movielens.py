"""Published layouts, a few rows each, and what they become."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest

from ur4rec.data import movielens
from ur4rec.data.archives import SourceFile
from ur4rec.data.config import DataConfig
from ur4rec.data.input_files import find_inputs
from ur4rec.data.interactions import read_interactions
from ur4rec.data.items import read_items
from ur4rec.data.published import INTERACTIONS_CSV, ITEMS_CSV, Files


def flags(*positions: int) -> str:
    return "|".join("1" if position in positions else "0" for position in range(19))


ORIGINAL = {
    "u.data": b"196\t2\t3\t881250949\n22\t1\t1\t878887116\n",
    "u.item": "\n".join(
        [
            f"1|Été, L' (1995) |01-Jan-1995||http://a|{flags(3, 4, 5)}",
            f"2|Sequel III: The End (1995) (V)|01-Jan-1995||http://b|{flags(10)}",
            f"267|unknown||||{flags(0)}",
        ]
    ).encode("latin-1"),
}
RECBOLE = {
    "ml-100k.inter": b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    b"196\t2\t3\t881250949\n22\t1\t1\t878887116\n",
    "ml-100k.item": "\n".join(
        [
            "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq",
            "1\tÉté, L'\t1995\tAnimation Children's Comedy",
            "2\tSequel III: The End (1995)\tV\tFilm-Noir",
            "267\tunkonwn\tunkonwn\tunknown",
        ]
    ).encode(),
}


def convert(converter: Callable[[Files, Path], None], files: Mapping[str, bytes], folder: Path) -> dict[str, bytes]:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    converter({name: SourceFile(folder, name, 1 << 24) for name in files}, folder)
    return {name: (folder / name).read_bytes() for name in (INTERACTIONS_CSV, ITEMS_CSV)}


def test_both_layouts_of_100k_give_the_same_pair(tmp_path: Path) -> None:
    pair = convert(movielens.convert_100k, ORIGINAL, tmp_path)
    assert pair[INTERACTIONS_CSV].decode() == (
        "user_id,item_id,timestamp,rating\n196,2,881250949,3\n22,1,878887116,1\n"
    )
    assert pair[ITEMS_CSV].decode() == (
        "item_id,title,year,genres\n"
        "1,\"Été, L' (1995)\",1995,Animation|Children's|Comedy\n"
        "2,Sequel III: The End (1995) (V),1995,Film-Noir\n"
        "267,unknown,,unknown\n"
    )
    assert convert(movielens.convert_100k_recbole, RECBOLE, tmp_path) == pair


def test_1m(tmp_path: Path) -> None:
    movies = "661::Misérables, Les (1995)::Drama|Musical\r\n1193::2001: A Space Odyssey (1968)::Sci-Fi\r\n"
    ratings = b"1::1193::5::978300760\n1::661::3::978302109\n"
    pair = convert(movielens.convert_1m, {"ratings.dat": ratings, "movies.dat": movies.encode("latin-1")}, tmp_path)
    assert (
        pair[INTERACTIONS_CSV].decode() == "user_id,item_id,timestamp,rating\n1,1193,978300760,5\n1,661,978302109,3\n"
    )
    assert pair[ITEMS_CSV].decode() == (
        'item_id,title,year,genres\n661,"Misérables, Les (1995)",1995,Drama|Musical\n'
        "1193,2001: A Space Odyssey (1968),1968,Sci-Fi\n"
    )


@pytest.mark.parametrize("item", [b"1|Too short|", b"", f"1|A||||{flags()}|0".encode()])
def test_another_format_is_a_value_error(item: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        convert(movielens.convert_100k, ORIGINAL | {"u.item": item}, tmp_path)


def test_10m_is_utf_8_and_keeps_half_stars(tmp_path: Path) -> None:
    movies = "661::Misérables, Les (1995)::Drama|Musical\n1193::One: Two (1968)::(no genres listed)\n"
    ratings = b"1::1193::4.5::838985046\n1::661::3::838983525\n"
    pair = convert(movielens.convert_10m, {"ratings.dat": ratings, "movies.dat": movies.encode()}, tmp_path)
    assert (
        pair[INTERACTIONS_CSV].decode() == "user_id,item_id,timestamp,rating\n1,1193,838985046,4.5\n1,661,838983525,3\n"
    )
    assert pair[ITEMS_CSV].decode() == (
        'item_id,title,year,genres\n661,"Misérables, Les (1995)",1995,Drama|Musical\n1193,One: Two (1968),1968,\n'
    )


MOVIES_CSV = (
    b"movieId,title,genres\r\n1,Toy Story (1995),Adventure|Children\r\n"
    b'11,"American President, The (1995)",Drama\r\n3,"Say ""Hi""",(no genres listed)\r\n'
)
RATINGS_CSV = b"userId,movieId,rating,timestamp\r\n1,1,4.0,964982703\r\n2,11,0.5,964981247\r\n"


def test_later_editions(tmp_path: Path) -> None:
    pair = convert(movielens.convert_csv, {"ratings.csv": RATINGS_CSV, "movies.csv": MOVIES_CSV}, tmp_path)
    assert pair[INTERACTIONS_CSV].decode() == (
        "user_id,item_id,timestamp,rating\n1,1,964982703,4.0\n2,11,964981247,0.5\n"
    )
    assert pair[ITEMS_CSV].decode() == (
        "item_id,title,year,genres\n1,Toy Story (1995),1995,Adventure|Children\n"
        '11,"American President, The (1995)",1995,Drama\n3,"Say ""Hi""",,\n'
    )


@pytest.mark.parametrize(
    "altered",
    [
        {"ratings.csv": b"user,movie,rating,timestamp\n1,1,4.0,964982703\n"},
        {"ratings.csv": b"userId,movieId,rating,timestamp\n1,1,4.0,yesterday\n"},
        {"ratings.csv": b"userId,movieId,rating,timestamp\n1,1,4.0\n"},
        {"ratings.csv": b""},
        {"movies.csv": b""},
        {"movies.csv": b"movieId,title\n1,A\n"},
        {"movies.csv": b"movieId,title,genres\n1,A\n"},
        {"movies.csv": b"movieId,title,genres\n1,\xe9,Drama\n"},
    ],
)
def test_another_format_of_later_editions_is_a_value_error(altered: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        convert(movielens.convert_csv, {"ratings.csv": RATINGS_CSV, "movies.csv": MOVIES_CSV} | altered, tmp_path)


def test_ratings_are_converted_in_parts(tmp_path: Path) -> None:
    rows = b"".join(b"%d,%d,3.5,%d\n" % (row % 997, row % 101, 10**9 + row) for row in range(120_000))
    files = {"ratings.csv": b"userId,movieId,rating,timestamp\n" + rows, "movies.csv": MOVIES_CSV}
    lines = convert(movielens.convert_csv, files, tmp_path)[INTERACTIONS_CSV].splitlines()
    assert len(lines) == 120_001
    assert lines[-1] == b"%d,%d,%d,3.5" % (119_999 % 997, 119_999 % 101, 10**9 + 119_999)


@pytest.mark.parametrize(
    ("layout", "converter"),
    [(ORIGINAL, movielens.convert_100k), (RECBOLE, movielens.convert_100k_recbole)],
    ids=["original", "recbole"],
)
def test_the_published_files_are_read_as_what_fetch_makes_of_them(
    layout: dict[str, bytes], converter: Callable[[Files, Path], None], tmp_path: Path
) -> None:
    (tmp_path / "work").mkdir()
    for folder, files in (("published", layout), ("fetched", convert(converter, layout, tmp_path / "work"))):
        (tmp_path / folder).mkdir()
        for name, content in files.items():
            (tmp_path / folder / name).write_bytes(content)
    published, fetched = (find_inputs(tmp_path / folder) for folder in ("published", "fetched"))
    rows = [read_interactions(inputs["interactions"], DataConfig()) for inputs in (published, fetched)]
    assert rows[0].user_ids.take(rows[0].users).equals(rows[1].user_ids.take(rows[1].users))
    assert rows[0].item_ids.take(rows[0].items).equals(rows[1].item_ids.take(rows[1].items))
    assert rows[0].timestamps.tolist() == rows[1].timestamps.tolist()
    films, expected = (read_items(inputs["items"], DataConfig()).frame for inputs in (published, fetched))
    pd.testing.assert_frame_equal(films, expected)
