"""Published layouts, a few rows each, and what they become."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ur4rec.data.config import DataConfig
from ur4rec.data.input_files import find_inputs
from ur4rec.data.interactions import read_interactions
from ur4rec.data.items import read_items
from ur4rec.data.movielens import INTERACTIONS_CSV, ITEMS_CSV, Files, convert_1m, convert_100k, convert_100k_recbole


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


def test_both_layouts_of_100k_give_the_same_pair() -> None:
    pair = convert_100k(ORIGINAL)
    assert pair[INTERACTIONS_CSV].decode() == (
        "user_id,item_id,timestamp,rating\n196,2,881250949,3\n22,1,878887116,1\n"
    )
    assert pair[ITEMS_CSV].decode() == (
        "item_id,title,year,genres\n"
        "1,\"Été, L' (1995)\",1995,Animation|Children's|Comedy\n"
        "2,Sequel III: The End (1995) (V),1995,Film-Noir\n"
        "267,unknown,,unknown\n"
    )
    assert convert_100k_recbole(RECBOLE) == pair


def test_1m() -> None:
    movies = "661::Misérables, Les (1995)::Drama|Musical\r\n1193::2001: A Space Odyssey (1968)::Sci-Fi\r\n"
    ratings = b"1::1193::5::978300760\n1::661::3::978302109\n"
    pair = convert_1m({"ratings.dat": ratings, "movies.dat": movies.encode("latin-1")})
    assert (
        pair[INTERACTIONS_CSV].decode() == "user_id,item_id,timestamp,rating\n1,1193,978300760,5\n1,661,978302109,3\n"
    )
    assert pair[ITEMS_CSV].decode() == (
        'item_id,title,year,genres\n661,"Misérables, Les (1995)",1995,Drama|Musical\n'
        "1193,2001: A Space Odyssey (1968),1968,Sci-Fi\n"
    )


@pytest.mark.parametrize("item", [b"1|Too short|", b"", f"1|A||||{flags()}|0".encode()])
def test_another_format_is_a_value_error(item: bytes) -> None:
    with pytest.raises(ValueError):
        convert_100k(ORIGINAL | {"u.item": item})


@pytest.mark.parametrize(
    ("layout", "convert"), [(ORIGINAL, convert_100k), (RECBOLE, convert_100k_recbole)], ids=["original", "recbole"]
)
def test_the_published_files_are_read_as_what_fetch_makes_of_them(
    layout: dict[str, bytes], convert: Callable[[Files], dict[str, bytes]], tmp_path: Path
) -> None:
    for folder, files in (("published", layout), ("fetched", convert(layout))):
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
