"""RecBole's atomic files."""

from __future__ import annotations

from pathlib import Path

import pytest
from formats import PACK, ROWS, read, read_items

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t9\t4.5\t100\n1\t7\t3\t200\n2\t9\t5\t150\n"


@pytest.mark.parametrize("name", ["plays.inter", "plays.txt"])
def test_types_behind_the_names_are_left_out(name: str, tmp_path: Path) -> None:
    table = read(tmp_path / name, INTER)
    assert table.columns.select(list(ROWS)).to_pydict() == ROWS
    assert table.read_as == "RecBole atomic file"
    assert table.locate(1) == "line 3"


def test_a_compressed_one_with_windows_line_ends(tmp_path: Path) -> None:
    table = read(tmp_path / "plays.inter.gz", PACK["gzip"](INTER.replace("\n", "\r\n").encode()))
    assert table.columns.select(list(ROWS)).to_pydict() == ROWS
    assert table.read_as == "gzip-compressed RecBole atomic file"


def test_sequences_are_lists_and_quotes_are_text(tmp_path: Path) -> None:
    header = "item_id:token\ttitle:token\tgenres:token_seq\tclass:float_seq\n"
    content = header + '1\t"Heroes" (1977)\tRock Art Pop\t1 2\n2\tB\t\t\n'
    table = read_items(tmp_path / "songs.item", content)
    assert table.columns["title"].to_pylist() == ['"Heroes" (1977)', "B"]
    assert table.columns["genres"].to_pylist()[0] == ["Rock", "Art", "Pop"]
    assert table.unused == ("class",)
