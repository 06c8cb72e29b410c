"""Films of MovieLens: years out of titles, genres out of flags."""

from __future__ import annotations

from pathlib import Path

import pytest
from formats import PACK, read_items

MAPPED = {"item_id": "movieId"}
TITLES = ["Toy Story (1995)", "Heat (1995) (V)", "Babylon 5", "1984 (1956)", "Ça (2017) "]


def test_the_year_behind_the_title_is_a_column(tmp_path: Path) -> None:
    content = "movieId,title,genres\n" + "".join(f"{n},{title},Drama|Crime\n" for n, title in enumerate(TITLES))
    table = read_items(tmp_path / "movies.csv", content, columns=MAPPED)
    assert table.read_as == "MovieLens films"
    assert table.columns["year"].to_pylist() == ["1995", "1995", "", "1956", "2017"]
    assert table.columns["title"].to_pylist() == [title.strip() for title in TITLES]
    assert table.columns["genres"].to_pylist()[0] == "Drama|Crime"
    assert table.locate(2) == "line 4"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_movies_dat_of_both_generations(encoding: str, tmp_path: Path) -> None:
    content = "1::Amélie (2001)::Comedy|Romance\n2::Star: Wars (1977)::Action\n"
    table = read_items(tmp_path / "movies.dat", content.encode(encoding))
    assert table.columns["title"].to_pylist() == ["Amélie (2001)", "Star: Wars (1977)"]
    assert table.columns["year"].to_pylist() == ["2001", "1977"]
    assert table.columns["genres"].to_pylist() == ["Comedy|Romance", "Action"]


def test_flags_of_the_first_generation(tmp_path: Path) -> None:
    flags = "|".join("1" if position in (1, 8) else "0" for position in range(19))
    line = f"1|Amélie (2001)|01-Jan-2001||http://example.com/a|{flags}\n"
    table = read_items(tmp_path / "u.item", line.encode("latin-1"))
    assert table.columns.to_pydict() == {
        "item_id": ["1"],
        "title": ["Amélie (2001)"],
        "year": ["2001"],
        "genres": ["Action|Drama"],
    }
    assert table.unused == ("release_date", "video_release_date", "url")


def test_compressed(tmp_path: Path) -> None:
    content = PACK["zstd"](b'movieId,title,genres\n1,"A, B (1999)",(no genres listed)\n')
    table = read_items(tmp_path / "movies.csv.zst", content, columns=MAPPED)
    assert table.read_as == "zstd-compressed MovieLens films"
    assert table.columns["year"].to_pylist() == ["1999"]
