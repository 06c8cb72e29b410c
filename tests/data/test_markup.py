"""Markup leaves the texts of an item table, and genres come out of every way to write a list."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from malformed import GOOD, HEADER, preprocess

from ur4rec.data.config import DataConfig
from ur4rec.data.markup import clean_markup, join_list, tidy_genres
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import load_sequences
from ur4rec.text.config import TextConfig
from ur4rec.text.generate import generate_text

ITEM_IDS = "abcd"


def write_items(path: Path, **columns: str) -> str:
    table = pd.DataFrame({"item_id": list(ITEM_IDS), "title": [f"Film {item}" for item in ITEM_IDS]})
    return table.assign(**columns).to_csv(path, index=False) or path.read_text()


def read_catalogue(tmp_path: Path) -> pd.DataFrame:
    return load_sequences(tmp_path / "sequences").items


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Howard &amp; Co <b>Polish</b> 1", "Howard & Co Polish 1"),
        ("<p>Great&nbsp;<br>stuff</p><script>alert(1)</script>", "Great stuff"),
        ("<ul><li>Soft</li><li>Cheap</li></ul>", "Soft Cheap"),
        ("H<sub>2</sub>O", "H2O"),
        ("R&amp;amp;D &#39;n&#x27; caf&eacute;", "R&D 'n' café"),
        ("&lt;p&gt;Escaped&lt;/p&gt;", "Escaped"),
        ("""<A HREF='x>y' title="a>b">link</A><IMG SRC=x.png/>""", "link"),
        ("one<!-- <p>not this</p> -->two", "one two"),
        ("<style type='text/css'>p {}</style>body <script async>cut off", "body"),
        ("<!DOCTYPE html><html><body>page</body></html>", "page"),
        ("<script>if (a < b) {}</script><script src=x></script>left", "left"),
        ("3 &lt; 4", "3 < 4"),
        ("a&#0;b&#xD800;c", "a\ufffdb\ufffdc"),
    ],
)
def test_markup_is_undone(text: str, clean: str) -> None:
    assert clean_markup(pa.chunked_array([[text]])) == ([clean], 1)


@pytest.mark.parametrize(
    "text",
    [
        *("I <3 you", "a < b", "a<b and c>d", "x <b and c> d", "List<String>", "AT&T", "R&D; more", "Q&A", "<>", "&"),
        *("Black&region", "&foo; & bar", "two  spaces", " leading", "->", "a <- b", "<Untitled>", "", "<", "1 << 2;"),
    ],
)
def test_what_merely_looks_like_markup_stays(text: str) -> None:
    assert clean_markup(pa.chunked_array([[text]])) == ([text], 0)


def test_only_changed_texts_count_and_rows_keep_their_places() -> None:
    texts = pa.chunked_array([["plain", "<i>x</i>"], ["a & b", "&amp;"]])
    assert clean_markup(texts) == (["plain", "x", "a & b", "&"], 2)


def test_open_elements_cost_no_more_than_their_length() -> None:
    # Every one of these is looked at once: a search that started again at each of them would take minutes.
    text = "<script " * 20_000 + "<!-- " * 20_000 + "<a href=" * 20_000
    assert clean_markup(pa.chunked_array([[text] * 3]))[1] == 0


@pytest.mark.parametrize(
    ("text", "genres"),
    [
        ("['Action', 'Drama']", "Action|Drama"),
        ('["Action", "Drama"]', "Action|Drama"),
        ("['Action' 'Drama']", "Action|Drama"),
        ("{'Action', 'Drama'}", "Action|Drama"),
        ("[Action, Drama]", "Action|Drama"),
        ('[["Books", "Poetry"], ["Books", "Drama"]]', "Books|Poetry|Drama"),
        ("[['Toys & Games', 'Puzzles']]", "Toys & Games|Puzzles"),
        ("[{'id': 16, 'name': 'Animation'}, {'id': 35, 'name': 'Comedy'}]", "Animation|Comedy"),
        ('[{"id": 16, "name": "Animation"}]', "Animation"),
        ('{"fantasy": 3, "history": 1}', "fantasy|history"),
        ("['Children\\'s', \"Rock 'n' Roll\"]", "Children's|Rock 'n' Roll"),
        ('["Caf\\u00e9"]', "Café"),
        ("['科幻', '小说']", "科幻|小说"),
        ("[1, 2]", "1|2"),
        ("[null, 'x']", "x"),
        ("[]", ""),
        ("{}", ""),
        (" Action | Drama ", "Action|Drama"),
        ("Action|Action", "Action"),
        ("(no genres listed)", ""),
        ("Drama|(No Genres Listed)", "Drama"),
        ("nan", ""),
        ("\\N", ""),
        ("unknown", "unknown"),
        ("", ""),
        ("[" * 5_000, "[" * 5_000),
        ("[" * 5_000 + "]", "[" * 5_000 + "]"),
        ("[b]Drama[/b]", "[b]Drama[/b]"),
        ("[Drama]", "Drama"),
    ],
)
def test_genres_of_one_value(text: str, genres: str) -> None:
    assert tidy_genres([text]) == [genres]


@pytest.mark.parametrize(
    ("texts", "genres"),
    [
        (["Action, Drama", "Drama"], ["Action|Drama", "Drama"]),
        (["Action,Drama", "Action,Drama"], ["Action|Drama", "Action|Drama"]),
        (["Action; Drama", "War"], ["Action|Drama", "War"]),
        (["Clothing, Shoes & Jewelry", "Books"], ["Clothing, Shoes & Jewelry", "Books"]),
        (["Arts, Crafts and Sewing"], ["Arts, Crafts and Sewing"]),
        (
            ["War & Politics, Drama", "Drama", "War & Politics, Sci-Fi & Fantasy", "Sci-Fi & Fantasy, Drama"],
            ["War & Politics|Drama", "Drama", "War & Politics|Sci-Fi & Fantasy", "Sci-Fi & Fantasy|Drama"],
        ),
        (["Rock, Pop|Jazz", "Rock, Pop"], ["Rock, Pop|Jazz", "Rock, Pop"]),
        (["['Shoes, Boots', 'Hats']", "['Hats']"], ["Shoes, Boots|Hats", "Hats"]),
    ],
)
def test_commas_part_genres_where_they_can(texts: list[str], genres: list[str]) -> None:
    assert tidy_genres(texts) == genres


def test_a_description_may_be_a_list_and_a_sentence_may_have_brackets() -> None:
    assert join_list("['Great stuff.', 'And more.']") == "Great stuff. And more."
    assert join_list("[]") == ""
    assert join_list("[sic] so it says [here]") == "[sic] so it says [here]"


def test_markup_of_an_item_table_is_cleaned_counted_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = write_items(
        tmp_path / "written.csv",
        genres="Action &amp; Adventure|Drama",
        description="<p>Great&nbsp;<br>stuff</p><script>alert(1)</script>",
    )
    manifest = preprocess(tmp_path, HEADER + GOOD, items.replace("Film a", "I <3 &quot;a&quot;"))
    catalogue = read_catalogue(tmp_path)
    assert catalogue["title"].tolist() == ['I <3 "a"', "Film b", "Film c", "Film d"]
    assert set(catalogue["genres"]) == {"Action & Adventure|Drama"}
    assert set(catalogue["description"]) == {"Great stuff"}
    assert manifest.details["items"]["cleaned_texts"] == 9
    assert "9 texts of the item table held markup" in capsys.readouterr().out


def test_a_table_without_markup_says_nothing_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = preprocess(tmp_path, HEADER + GOOD, write_items(tmp_path / "written.csv", genres="A|B"))
    assert "cleaned_texts" not in manifest.details["items"]
    assert "markup" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "genres",
    [
        pytest.param(pa.array([["Action", "Drama"]] * 4), id="list"),
        pytest.param(pa.array([[["Action", "Drama"], ["Action"]]] * 4), id="list of lists"),
        pytest.param(pa.array([[{"name": "Action", "id": 1}, {"name": "Drama", "id": 2}]] * 4), id="list of objects"),
        pytest.param(pa.array([json.dumps(["Action", "Drama"])] * 4), id="text"),
    ],
)
def test_lists_of_parquet(genres: pa.Array, tmp_path: Path) -> None:
    ids = pa.array(list(ITEM_IDS))
    descriptions = pa.array([["Great &amp; good.", "More."], [], None, ["One."]])
    table = pa.table({"item_id": ids, "title": ids, "genres": genres, "description": descriptions})
    pq.write_table(table, tmp_path / "items.parquet")
    (tmp_path / "interactions.csv").write_text(HEADER + GOOD)
    preprocess_sequences(
        tmp_path / "interactions.csv", tmp_path / "sequences", DataConfig(), tmp_path / "items.parquet"
    )
    catalogue = read_catalogue(tmp_path)
    assert set(catalogue["genres"]) == {"Action|Drama"}
    assert catalogue["description"].tolist() == ["Great & good. More.", "", "", "One."]


def test_a_year_of_zero_is_in_no_text_and_a_year_is_said_once(tmp_path: Path) -> None:
    items = "item_id,title,year\na,Old,0\nb,Toy Story (1995),1995\nc,C,2050\nd,D,\n"
    preprocess(tmp_path, HEADER + GOOD, items)
    generate_text(tmp_path / "sequences", tmp_path / "texts", TextConfig())
    written = json.loads((tmp_path / "texts" / "item_descriptions.json").read_text())
    assert written["a"] == "Old."
    assert written["b"] == "Toy Story (1995). It dates from the mid-1990s."
    assert written["c"].startswith("C (2050).")
