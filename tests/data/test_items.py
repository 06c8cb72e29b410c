"""Item tables: every malformed row has one defined outcome, and items and interactions need not match."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from malformed import GOOD, HEADER, Row, preprocess, write_parquet

from ur4rec.data.config import DataConfig
from ur4rec.data.errors import DataError
from ur4rec.data.items import read_items
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import load_sequences
from ur4rec.data.summary import exclusion_table, list_warnings, summary_table

ITEM_HEADER = "item_id,title,genres,year\n"

ITEMS = "a,A,x|y,1990\nb,B,,\nc,C,x,1991\nd,D,x,1992\n"

DIGEST = "76567e1f39afe85ad1aaf34dfc9af5c5619cbe03bc09d3e87289edf6e151a854"
"""Of the content that releases before the setting `new_items` wrote for these files."""


def test_missing_item_table(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text(HEADER + GOOD)
    with pytest.raises(DataError, match=r"absent\.csv: not found"):
        preprocess_sequences(
            tmp_path / "interactions.csv", tmp_path / "sequences", DataConfig(), tmp_path / "absent.csv"
        )


ITEM_ROWS = [
    Row("missing_item", ",Nameless,,1990", r"column 'item_id': expected an id, got ''", "missing_item_id"),
    Row(
        "second_opinion",
        "a,Another,,1990",
        r"column 'item_id': expected what an earlier .*, got 'a'",
        "conflicting_item",
    ),
    Row("word_year", "e,E,,soon", r"column 'year': expected a year from 0 to 9999, got 'soon'", "invalid_year"),
    Row("fractional_year", "e,E,,1990.5", r"column 'year': expected a year .*, got '1990.5'", "invalid_year"),
    Row("negative_year", "e,E,,-5", r"column 'year': expected a year .*, got '-5'", "invalid_year"),
]


@pytest.mark.parametrize("case", ITEM_ROWS, ids=lambda case: case.name)
def test_malformed_item_row(case: Row, tmp_path: Path) -> None:
    first, rest = ITEMS.split("\n", 1)
    items = ITEM_HEADER + f"{first}\n\n{case.row}\n{rest}"
    with pytest.raises(DataError, match=r"items\.csv, line 4, " + case.message):
        preprocess(tmp_path, HEADER + GOOD, items)
    manifest = preprocess(tmp_path, HEADER + GOOD, items, bad_rows="exclude")
    assert manifest.details["items"]["excluded_rows"] == {case.reason: 1}
    assert (f"item rows left out: {case.reason.replace('_', ' ')}", 1) in exclusion_table(manifest)
    assert load_sequences(tmp_path / "sequences").items["title"].tolist() == ["A", "B", "C", "D"]


def test_a_dropped_item_row_does_not_make_the_next_one_a_conflict(tmp_path: Path) -> None:
    items = ITEM_HEADER + ITEMS.replace("a,A,x|y,1990", "a,A,x|y,soon\na,A,x|y,1990")
    manifest = preprocess(tmp_path, HEADER + GOOD, items, bad_rows="exclude")
    assert manifest.details["items"]["excluded_rows"] == {"invalid_year": 1}
    assert load_sequences(tmp_path / "sequences").items["year"].tolist()[0] == 1990


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ("", r"items\.csv: empty file; expected the columns item_id, title"),
        ("item_id,label\na,A\n", r"items\.csv, first line: no column 'title' among 'item_id', 'label'"),
        ("item_id,title\na,\xe9\n".encode("latin-1"), r"items\.csv, line 2: byte 0xe9 is not UTF-8"),
    ],
)
def test_unusable_item_table(items: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        preprocess(tmp_path, HEADER + GOOD, items)


def test_items_and_interactions_need_not_match(tmp_path: Path) -> None:
    items = ITEM_HEADER + ITEMS.replace("a,A,x|y,1990\n", "") + "c,C,x,1991\nz,Z,,\ny,Y,,\nx,X,,\n"
    manifest = preprocess(tmp_path, HEADER + GOOD, items.replace("b,B", "b, "))
    assert manifest.details["items"] == {
        "rows_read": 7,
        "excluded_rows": {"duplicate_item_row": 1},
        "without_row": 1,
        "without_title": 1,
        "never_interacted": 3,
    }
    assert load_sequences(tmp_path / "sequences").items["title"].tolist() == ["a", "b", "C", "D"]
    assert exclusion_table(manifest) == [
        ("item rows left out: duplicate item row", 1),
        ("items without a row in the item table: titled by their id", 1),
        ("items without a title: titled by their id", 1),
        ("items of the item table without an interaction: left out", 3),
    ]


def test_new_items_follow_those_of_the_interactions(tmp_path: Path) -> None:
    """They are in the order of the table; nothing else moves."""
    items = ITEM_HEADER + "z,Z,x,1993\n" + ITEMS + "z,Z,x,1993\ny,,,\n"
    preprocess(tmp_path, HEADER + GOOD, items)
    before = load_sequences(tmp_path / "sequences")
    assert before.item_ids == ("", "a", "b", "c", "d")
    (tmp_path / "more").mkdir()
    manifest = preprocess(tmp_path / "more", HEADER + GOOD, items, new_items="include")
    after = load_sequences(tmp_path / "more/sequences")
    assert after.item_ids == ("", "a", "b", "c", "d", "z", "y")
    assert after.items["title"].tolist() == ["A", "B", "C", "D", "Z", "y"]
    assert after.items["genres"].tolist()[4] == "x"
    pd.testing.assert_frame_equal(after.items.iloc[:4], before.items)
    assert [rows.tolist() for rows in (after.train, after.val, after.test)] == [
        rows.tolist() for rows in (before.train, before.val, before.test)
    ]
    assert after.training_counts().tolist() == [0, 1, 1, 0, 0, 0, 0]
    assert manifest.details["num_items"] == 6
    assert manifest.details["items"] == {
        "rows_read": 7,
        "excluded_rows": {"duplicate_item_row": 1},
        "without_row": 0,
        "without_title": 1,
        "new": 2,
    }
    told = dict(summary_table(manifest))
    assert told["items in the item table"] == "4 of 4"
    assert told["new items"] == "2, without an interaction: they can be recommended by their text alone"
    assert [words for words, _ in exclusion_table(manifest)] == [
        "item rows left out: duplicate item row",
        "items without a title: titled by their id",
    ]


def test_the_default_leaves_the_bytes_as_they_were(tmp_path: Path) -> None:
    """An item table that adds nothing makes the same content, whatever the setting."""
    digests = {}
    for new_items in ("exclude", "include"):
        preprocess(tmp_path, HEADER + GOOD, ITEM_HEADER + ITEMS, new_items=new_items)
        digests[new_items] = load_sequences(tmp_path / "sequences").digest
    assert digests["exclude"] == digests["include"] == DIGEST


@pytest.mark.parametrize("config", [{"min_rating": 3}, {"min_rating": 3, "k_core": True}, {"drop_last": 1}])
def test_an_item_whose_interactions_were_filtered_away_is_new(config: dict[str, Any], tmp_path: Path) -> None:
    """The item table says that it is in the catalogue."""
    rows = "".join(f"{user},{item},{time},5\n" for user in "uvw" for time, item in enumerate("abc"))
    plays = f"user_id,item_id,timestamp,rating\n{rows}u,d,7,{1 if 'min_rating' in config else 5}\n"
    if "drop_last" in config:
        plays += "v,e,8,5\nw,e,8,5\n"
    manifest = preprocess(tmp_path, plays, ITEM_HEADER + ITEMS, new_items="include", **config)
    assert load_sequences(tmp_path / "sequences").item_ids == ("", "a", "b", "c", "d")
    assert manifest.details["items"]["new"] == 1
    assert manifest.details["id_types"]["item_id"] == "string"


def test_new_items_need_an_item_table(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"interactions\.csv: new_items: include takes items from an item table.*--items"
    ):
        preprocess(tmp_path, HEADER + GOOD, new_items="include")


def test_new_items_do_not_hide_that_ids_of_both_files_differ(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of the 4 items of the interactions is in it"):
        preprocess(tmp_path, HEADER + GOOD, "item_id,title\ntt1,A\ntt2,B\n", new_items="include")
    manifest = preprocess(tmp_path, HEADER + GOOD, "item_id,title\na,A\ntt2,B\ntt3,C\n", new_items="include")
    assert any("1 of 4 items have a row in the item table" in line for line in list_warnings(manifest))


@pytest.mark.parametrize(("plays", "items"), [("{}.0", "{}"), ("{}", "{}.0")])
def test_new_items_beside_whole_numbers_with_a_point(plays: str, items: str, tmp_path: Path) -> None:
    rows = "".join(f"u,{plays.format(item)},{item}\n" for item in range(1, 5)) + "u,single,9\n"
    titles = "".join(f"{items.format(item)},Film {item}\n" for item in range(1, 6)) + "total,none\n"
    preprocess(tmp_path, HEADER + rows, "item_id,title\n" + titles, new_items="include")
    expected = ("", *(plays.format(item) for item in range(1, 5)), "single", items.format(5), "total")
    assert load_sequences(tmp_path / "sequences").item_ids == expected


def test_parquet_title_that_is_no_text(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "interactions.parquet")
    pd.DataFrame({"item_id": [7], "title": [{"en": "A"}]}).to_parquet(tmp_path / "items.parquet")
    with pytest.raises(DataError, match=r"items\.parquet, column 'title': type struct<.*> is not text"):
        preprocess_sequences(path, tmp_path / "sequences", DataConfig(), tmp_path / "items.parquet")


def test_a_table_of_other_items_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"items\.csv: none of the 4 items of the interactions is in it; they are called 'a', 'b', 'c' there, and "
        r"'tt1', 'tt2' here; give the table of the same items, or the column with their ids: --set columns=item_id",
    ):
        preprocess(tmp_path, HEADER + GOOD, "item_id,title\ntt1,A\ntt2,B\n")
    with pytest.raises(DataError, match="and none that can be used here"):
        preprocess(tmp_path, HEADER + GOOD, "item_id,title\nNA,A\n", bad_rows="exclude")


@pytest.mark.parametrize(("plays", "items"), [("{}.0", "{}"), ("{}", "{}.0"), ("{}.0", "{}.00")])
def test_whole_numbers_match_with_and_without_their_point(plays: str, items: str, tmp_path: Path) -> None:
    rows = "".join(f"u,{plays.format(item)},{item}\n" for item in range(1, 5))
    titles = "".join(f"{items.format(item)},Film {item}\n" for item in range(1, 5))
    manifest = preprocess(tmp_path, HEADER + rows, "item_id,title\n" + titles)
    assert load_sequences(tmp_path / "sequences").item_ids == ("", "1", "2", "3", "4")
    assert load_sequences(tmp_path / "sequences").items["title"].tolist() == [f"Film {item}" for item in range(1, 5)]
    assert manifest.details["items"]["without_row"] == 0


@pytest.mark.parametrize(("plays", "items"), [("{}.0", "{}"), ("{}", "{}.0")])
def test_a_word_among_the_numbers_of_one_side_parts_them_not(plays: str, items: str, tmp_path: Path) -> None:
    rows = "".join(f"u,{plays.format(item)},{item}\n" for item in range(1, 5)) + "u,single,9\n"
    titles = "".join(f"{items.format(item)},Film {item}\n" for item in range(1, 5)) + "total,none\n"
    manifest = preprocess(tmp_path, HEADER + rows, "item_id,title\n" + titles)
    table = load_sequences(tmp_path / "sequences").items.set_index("item_id")["title"]
    assert table.to_dict() == {plays.format(item): f"Film {item}" for item in range(1, 5)} | {"single": "single"}
    assert (manifest.details["items"]["without_row"], manifest.details["items"]["never_interacted"]) == (1, 1)


def test_whole_numbers_of_one_column_may_be_mixed(tmp_path: Path) -> None:
    manifest = preprocess(tmp_path, HEADER + "1,a,1\n1.0,b,2\n1,c,3\n1.0,d,4\n")
    assert manifest.details["num_users"] == 1


@pytest.mark.parametrize("year", ["0", "0.0", "", "NA", "NULL", "nan", r"\N"])
def test_0_is_no_year(year: str, tmp_path: Path) -> None:
    preprocess(tmp_path, HEADER + GOOD, f"item_id,title,year\na,A,{year}\nb,B,2050\n")
    years = load_sequences(tmp_path / "sequences").items["year"]
    assert years.isna().tolist() == [True, False, True, True]
    assert years.tolist()[1] == 2050


def test_what_programs_write_for_no_text_is_none(tmp_path: Path) -> None:
    """Titles that could be meant stay."""
    items = r"a,\N,NULL" + "\nb,nan,Drama\nc,NA,None\nd,null,<NA>\n"
    preprocess(tmp_path, HEADER + GOOD, "item_id,title,genres\n" + items)
    table = load_sequences(tmp_path / "sequences").items
    assert table["title"].tolist() == ["a", "b", "NA", "null"]
    assert table["genres"].tolist() == ["", "Drama", "", ""]


def test_items_of_any_parquet_type(tmp_path: Path) -> None:
    table = pa.table({"item_id": [b"a", b"b"], "title": [b"A", None], "year": [1990.0, float("nan")]})
    pq.write_table(table, tmp_path / "items.parquet")
    items = read_items(tmp_path / "items.parquet", DataConfig()).frame
    assert items["title"].to_dict() == {"a": "A", "b": ""}
    assert items["year"].isna().tolist() == [False, True]


def test_ids_that_are_hardly_different_are_counted(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\nB1,A\nb1,B\n")
    assert read_items(tmp_path / "items.csv", DataConfig()).reading["similar_ids"] == {"item_id": 1}
