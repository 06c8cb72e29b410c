"""Every malformed input has one defined outcome: an error that says where and what, or a count in the manifest."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from ur4rec.data.config import DataConfig
from ur4rec.data.errors import DataError
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import load_sequences
from ur4rec.data.summary import exclusion_table
from ur4rec.storage.artifacts import Manifest

HEADER = "user_id,item_id,timestamp\n"
GOOD = "u,a,1\nu,b,2\nu,c,3\nu,d,4\n"
"""Lines 2 to 5 of a file: one user with four interactions."""
ITEM_HEADER = "item_id,title,genres,year\n"
ITEMS = "a,A,x|y,1990\nb,B,,\nc,C,x,1991\nd,D,x,1992\n"


def preprocess(
    folder: Path, interactions: str | bytes, items: str | bytes | None = None, suffix: str = ".csv", **config: object
) -> Manifest:
    path = folder / f"interactions{suffix}"
    path.write_bytes(interactions if isinstance(interactions, bytes) else interactions.encode())
    if items is not None:
        (folder / "items.csv").write_bytes(items if isinstance(items, bytes) else items.encode())
    table = None if items is None else folder / "items.csv"
    return preprocess_sequences(path, folder / "sequences", DataConfig.parse(config), table)


@dataclass(frozen=True)
class File:
    """A file that cannot be used at all, whatever `bad_rows` says."""

    name: str
    content: str | bytes
    message: str
    suffix: str = ".csv"


FILES = [
    File("empty", "", r"interactions\.csv: empty file; expected the columns user_id, item_id, timestamp"),
    File("blank_lines_only", "\n\n", r"interactions\.csv, first line: no column 'user_id'"),
    File("header_only", HEADER, r"interactions\.csv: no rows below the column names"),
    File(
        "no_header", GOOD, r"first line: no column 'user_id', 'item_id', 'timestamp' among 'u', 'a', '1'; the file must"
    ),
    File("missing_column", "user_id,item_id\nu,a\n", r"no column 'timestamp' among 'user_id', 'item_id'"),
    File("misspelt_column", "user_id,itemid,timestamp\nu,a,1\n", r"no column 'item_id' .* is it 'itemid'\? Rename"),
    File("upper_case_column", "USER_ID,item_id,timestamp\nu,a,1\n", r"no column 'user_id' .* is it 'USER_ID'\? Rename"),
    File("space_in_header", "user_id, item_id,timestamp\nu,a,1\n", r"no column 'item_id' .* is it ' item_id'\? Rename"),
    File("doubled_column", "user_id,item_id,item_id,timestamp\nu,a,b,1\n", r"column 'item_id' occurs more than once"),
    File(
        "semicolons",
        HEADER.replace(",", ";") + "u;a;1\n",
        r"first line: the fields are separated by semicolons; expected c",
    ),
    File("tabs", HEADER.replace(",", "\t") + "u\ta\t1\n", r"the fields are separated by tabs; expected commas"),
    File(
        "latin_1",
        HEADER.encode() + "u,a,1\nü,b,2\n".encode("latin-1"),
        r"line 3: byte 0xfc is not UTF-8; .*iconv -f LATIN1",
    ),
    File("truncated_utf_8", HEADER.encode() + b"u,a,1\nu,b\xc3", r"line 3: byte 0xc3 is not UTF-8"),
    File("utf_16", (HEADER + GOOD).encode("utf-16"), r"not a CSV file but UTF-16; convert it to UTF-8"),
    File("gzip", b"\x1f\x8b\x08\x00", r"not a CSV file but gzip-compressed; unpack it first"),
    File("zip", b"PK\x03\x04rest", r"not a CSV file but a zip archive"),
    File("parquet_named_csv", b"PAR1rest", r"not a CSV file but a Parquet file; name it \.parquet"),
    File("corrupt_parquet", b"PAR1 this is no parquet", r"interactions\.parquet: not readable as Parquet", ".parquet"),
    File("csv_named_parquet", HEADER + GOOD, r"interactions\.parquet: not readable as Parquet", ".parquet"),
    File("unknown_ending", HEADER + GOOD, r"unknown kind of file '\.xlsx'; expected \.csv or \.parquet", ".xlsx"),
    File("open_quote", HEADER + 'u,"a,1\n' + GOOD, r"line 2 .*: a quote is opened and never closed"),
    File(
        "milliseconds",
        HEADER + "u,a,1500000000000\nu,b,1500000001000\n",
        r"column 'timestamp': .* look like milliseconds; .* by 1,000$",
    ),
    File(
        "microseconds", HEADER + "u,a,1500000000000000\n", r"look like microseconds; .* divide the column by 1,000,000$"
    ),
    File(
        "nanoseconds",
        HEADER + "u,a,1500000000000000000\n",
        r"look like nanoseconds; .* divide the column by 1,000,000,000$",
    ),
    File(
        "no_long_user",
        HEADER + "u,a,1\nv,a,2\nv,b,3\n",
        r"no train interaction is left of 3 rows \(3 user_below_min_seq_len\); low",
    ),
]


@pytest.mark.parametrize("bad_rows", ["error", "exclude"])
@pytest.mark.parametrize("case", FILES, ids=lambda case: case.name)
def test_unusable_file_is_an_error(case: File, bad_rows: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=case.message):
        preprocess(tmp_path, case.content, suffix=case.suffix, bad_rows=bad_rows)
    assert not (tmp_path / "sequences").exists()


@dataclass(frozen=True)
class Row:
    """A malformed row at line 4 of a file (after a good one and a blank line): an error, or a counted exclusion."""

    name: str
    row: str
    message: str
    """After `line 4, `."""
    reason: str
    header: str = HEADER


RATED = "user_id,item_id,timestamp,rating\n"
ROWS = [
    Row("line_break_in_user", '"u\nv",b,2', r"column 'user_id': expected .* on one line .*", "broken_user_id"),
    Row("missing_user", ",b,2", r"column 'user_id': expected an id, got ''", "missing_user_id"),
    Row("blank_user", "   ,b,2", r"column 'user_id': expected an id, got '   '", "missing_user_id"),
    Row("missing_item", "u,,2", r"column 'item_id': expected an id, got ''", "missing_item_id"),
    Row("missing_timestamp", "u,b,", r"column 'timestamp': expected seconds .*, got ''", "missing_timestamp"),
    Row(
        "date", "u,b,2020-01-01", r"column 'timestamp': expected .* as a number, got '2020-01-01'", "invalid_timestamp"
    ),
    Row("word", "u,b,yesterday", r"column 'timestamp': .*, got 'yesterday'", "invalid_timestamp"),
    Row("nan", "u,b,NaN", r"column 'timestamp': .*, got 'NaN'", "invalid_timestamp"),
    Row("infinity", "u,b,-inf", r"column 'timestamp': .*, got '-inf'", "invalid_timestamp"),
    Row("overflow", "u,b,1e999", r"column 'timestamp': .*, got '1e999'", "invalid_timestamp"),
    Row("hexadecimal", "u,b,0x10", r"column 'timestamp': .*, got '0x10'", "invalid_timestamp"),
    Row("thousands", 'u,b,"1,000"', r"column 'timestamp': .*, got '1,000'", "invalid_timestamp"),
    Row(
        "negative", "u,b,-5", r"column 'timestamp': expected no time before 1970-01-01, got '-5'", "negative_timestamp"
    ),
    Row(
        "future",
        "u,b,9000000000",
        r"column 'timestamp': expected no time after 20\d\d-\d\d-\d\d, got '9000000000'",
        "future_timestamp",
    ),
    Row("word_rating", "u,b,2,good", r"column 'rating': expected a number, got 'good'", "invalid_rating", RATED),
    Row("nan_rating", "u,b,2,nan", r"column 'rating': expected a number, got 'nan'", "invalid_rating", RATED),
    Row(
        "line_break_in_id", 'u,"b\nb",2', r"column 'item_id': expected .* on one line .*, got 'b\\nb'", "broken_item_id"
    ),
]


def with_bad_row(case: Row) -> str:
    rating = ",5" if case.header == RATED else ""
    good = [f"{line}{rating}" for line in GOOD.splitlines()]
    return case.header + "\n".join([good[0], "", case.row, *good[1:]]) + "\n"


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
def test_malformed_row_is_an_error_that_names_its_line(case: Row, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"interactions\.csv, line 4, {case.message}\. .*bad_rows: exclude"):
        preprocess(tmp_path, with_bad_row(case))


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
def test_malformed_row_is_dropped_and_counted_on_request(case: Row, tmp_path: Path) -> None:
    manifest = preprocess(tmp_path, with_bad_row(case), bad_rows="exclude")
    assert manifest.details["excluded_rows"] == {case.reason: 1}
    assert manifest.details["rows"] == {"read": 5, "train": 2, "val": 1, "test": 1}
    assert (f"interactions left out: {case.reason.replace('_', ' ')}", 1) in exclusion_table(manifest)


@pytest.mark.parametrize(
    ("row", "found"), [("u,b", 2), ("u,b,2,5", 4), ("u", 1), (",,,", 4)], ids=["short", "long", "one", "commas"]
)
def test_ragged_row(row: str, found: int, tmp_path: Path) -> None:
    content = HEADER + "u,a,1\n" + row + "\nu,b,2\nu,c,3\n"
    with pytest.raises(DataError, match=rf"line 3 \({found} fields instead of 3\)"):
        preprocess(tmp_path, content)
    manifest = preprocess(tmp_path, content, bad_rows="exclude")
    assert manifest.details["excluded_rows"] == {"ragged_row": 1}
    assert manifest.details["rows"]["read"] == 4


def test_the_first_bad_row_is_named_and_the_others_are_counted(tmp_path: Path) -> None:
    content = HEADER + "u,a,1\nu,b,x\n,b,2\nu,c,y\nu,d,-1\n"
    with pytest.raises(
        DataError,
        match=r"line 3, .* got 'x' \(3 more bad rows: 1 missing_user_id, 1 invalid_timestamp, 1 negative_timestamp\)",
    ):
        preprocess(tmp_path, content)


def test_lines_are_counted_past_quoted_line_breaks(tmp_path: Path) -> None:
    content = 'user_id,item_id,timestamp,"a\nnote"\nu,a,1,"two\nlines"\nu,b,x,\n'
    with pytest.raises(DataError, match="line 5, column 'timestamp'"):
        preprocess(tmp_path, content)


def test_lines_are_right_beside_excluded_ragged_rows(tmp_path: Path) -> None:
    items = "item_id,title\na,A\nb\na,Another\n"
    with pytest.raises(
        DataError, match=r"items.csv, line 3 \(1 fields instead of 2\) \(1 more bad rows: 1 conflicting"
    ):
        preprocess(tmp_path, HEADER + GOOD, items)


def test_lines_are_right_below_fields_of_any_length(tmp_path: Path) -> None:
    items = "item_id,title\na," + "A" * 200_000 + "\na,Another\n"
    with pytest.raises(DataError, match=r"items.csv, line 3, column 'item_id'"):
        preprocess(tmp_path, HEADER + GOOD, items)


def test_a_row_with_two_faults_counts_once(tmp_path: Path) -> None:
    manifest = preprocess(tmp_path, HEADER + GOOD + ",e,never\n", bad_rows="exclude")
    assert manifest.details["excluded_rows"] == {"missing_user_id": 1}


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.csv: not found; expected a \.csv or \.parquet file"):
        preprocess_sequences(tmp_path / "absent.csv", tmp_path / "sequences", DataConfig())


def test_missing_item_table(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text(HEADER + GOOD)
    with pytest.raises(DataError, match=r"absent\.csv: not found"):
        preprocess_sequences(
            tmp_path / "interactions.csv", tmp_path / "sequences", DataConfig(), tmp_path / "absent.csv"
        )


def test_duplicate_rows_are_dropped_and_counted(tmp_path: Path) -> None:
    manifest = preprocess(tmp_path, HEADER + GOOD + "u,b,2\nu,b,2\n")
    assert manifest.details["excluded_rows"] == {"duplicate_row": 2}
    assert manifest.details["num_interactions"] == 4


def test_a_row_is_no_duplicate_of_a_dropped_one(tmp_path: Path) -> None:
    content = HEADER + GOOD.replace("u,a,1", "u,a,0") + "u,a,\n"
    manifest = preprocess(
        tmp_path, "user_id,item_id,timestamp\nu,a,\n" + content.removeprefix(HEADER), bad_rows="exclude"
    )
    assert manifest.details["excluded_rows"] == {"missing_timestamp": 2}


def test_the_same_item_at_another_time_stays(tmp_path: Path) -> None:
    manifest = preprocess(tmp_path, HEADER + GOOD + "u,a,9\n")
    assert manifest.details["excluded_rows"] == {}
    assert manifest.details["num_interactions"] == 5


def test_fractions_of_seconds_order_rows_and_are_cut(tmp_path: Path) -> None:
    manifest = preprocess(tmp_path, HEADER + "u,late,7.75\nu,early,7.25\nu,first,1\n")
    sequences = load_sequences(tmp_path / "sequences")
    assert [sequences.item_ids[item] for item in sequences.histories("full").items] == ["first", "early", "late"]
    assert sequences.histories("full").timestamps.tolist() == [1, 7, 7]
    assert manifest.details["timestamps"] == {"first_s": 1, "last_s": 7, "cut_to_whole_seconds": 2}


def test_tomorrow_is_not_the_future(tmp_path: Path) -> None:
    manifest = preprocess(tmp_path, HEADER + GOOD + f"u,e,{time.time() + 3600:.0f}\n")
    assert manifest.details["num_interactions"] == 5


def test_users_with_too_few_interactions_are_dropped_and_counted(tmp_path: Path) -> None:
    manifest = preprocess(tmp_path, HEADER + GOOD + "one,a,1\ntwo,a,1\ntwo,b,2\n")
    assert manifest.details["excluded_rows"] == {"user_below_min_seq_len": 3}
    assert manifest.details["excluded_users"] == {"user_below_min_seq_len": 2}
    assert ("users left out: user below min seq len", 2) in exclusion_table(manifest)


def test_min_rating_needs_ratings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'rating'"):
        preprocess(tmp_path, HEADER + GOOD, min_rating=4)


def test_a_missing_rating_matters_only_with_min_rating(tmp_path: Path) -> None:
    content = RATED + "u,a,1,5\nu,b,2,\nu,c,3,5\nu,d,4,5\n"
    assert preprocess(tmp_path, content).details["num_interactions"] == 4
    with pytest.raises(
        DataError, match="line 3, column 'rating': expected a number, because min_rating is set, got ''"
    ):
        preprocess(tmp_path, content, min_rating=4)
    manifest = preprocess(tmp_path, content, min_rating=4, bad_rows="exclude")
    assert manifest.details["excluded_rows"] == {"missing_rating": 1}


@pytest.mark.parametrize("item_id", ["007", " padded ", "żółw 🐢", "NA", "null", 'say "hi", twice', "1.0"])
def test_ids_survive_as_they_stand(item_id: str, tmp_path: Path) -> None:
    quoted = item_id.replace('"', '""')
    preprocess(tmp_path, HEADER + f'u,7,1\nu,"{quoted}",2\nu,c,3\n')
    sequences = load_sequences(tmp_path / "sequences")
    assert set(sequences.item_ids) == {"", "7", item_id, "c"}
    assert item_id in sequences.items["item_id"].tolist()


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    content = (HEADER + GOOD).replace("\n", "\r\n").encode("utf-8-sig")
    preprocess(tmp_path, content)
    assert load_sequences(tmp_path / "sequences").item_ids == ("", "a", "b", "c", "d")


def test_further_columns_are_ignored(tmp_path: Path) -> None:
    preprocess(tmp_path, "note,timestamp,item_id,user_id\n" + '"x,y",1,a,u\n,2,b,u\n,3,c,u\n')
    assert load_sequences(tmp_path / "sequences").item_ids == ("", "a", "b", "c")


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
        ("item_id,name\na,A\n", r"items\.csv, first line: no column 'title' among 'item_id', 'name'"),
        ("item_id|title\na|A\n", r"the fields are separated by bars"),
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


def write_parquet(path: Path, **changes: object) -> Path:
    columns: dict[str, object] = {"user_id": [1, 1, 1, 1], "item_id": [10, 9, 8, 7], "timestamp": [1, 2, 3, 4]}
    pd.DataFrame(columns | changes).to_parquet(path)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timestamp": [1.0, float("inf"), 3.0, 4.0]}, r"row 2, column 'timestamp': .*, got inf"),
        ({"timestamp": [1, 2, None, 4]}, r"row 3, column 'timestamp': .*, got None"),
        ({"timestamp": ["1", "2", "3", "x"]}, r"row 4, column 'timestamp': .*, got 'x'"),
        ({"timestamp": [[1], [2], [3], [4]]}, r"column 'timestamp': type list<.*> is not a number"),
        ({"timestamp": [True, False, True, True]}, r"column 'timestamp': type bool is not a number"),
        ({"user_id": [1, None, 1, 1]}, r"row 2, column 'user_id': expected an id, got (nan|None)"),
        (
            {"user_id": [1.5, 1.5, 1.5, 1.5]},
            r"column 'user_id': double values cannot be ids; expected text or whole num",
        ),
        ({"user_id": [{"a": 1}] * 4}, r"column 'user_id': struct<.*> values cannot be ids"),
        ({"timestamp": [10**12] * 4}, r"column 'timestamp': values such as 1000000000000 look like milliseconds"),
    ],
)
def test_malformed_parquet(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "interactions.parquet", **changes)
    with pytest.raises(DataError, match=r"interactions\.parquet, " + message):
        preprocess_sequences(path, tmp_path / "sequences", DataConfig())


def test_parquet_without_a_column(tmp_path: Path) -> None:
    pd.DataFrame({"user": [1], "item_id": [1], "timestamp": [1]}).to_parquet(tmp_path / "interactions.parquet")
    with pytest.raises(DataError, match=r"no column 'user_id' among 'user', 'item_id', 'timestamp'; is it 'user'\?"):
        preprocess_sequences(tmp_path / "interactions.parquet", tmp_path / "sequences", DataConfig())


def test_parquet_cut_off(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "interactions.parquet")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"interactions\.parquet: not readable as Parquet"):
        preprocess_sequences(path, tmp_path / "sequences", DataConfig())


def test_parquet_without_rows(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "interactions.parquet", user_id=[], item_id=[], timestamp=[])
    with pytest.raises(DataError, match=r"interactions\.parquet: no rows below the column names"):
        preprocess_sequences(path, tmp_path / "sequences", DataConfig())


def test_parquet_title_that_is_no_text(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "interactions.parquet")
    pd.DataFrame({"item_id": [7], "title": [{"en": "A"}]}).to_parquet(tmp_path / "items.parquet")
    with pytest.raises(DataError, match=r"items\.parquet, column 'title': type struct<.*> is not text"):
        preprocess_sequences(path, tmp_path / "sequences", DataConfig(), tmp_path / "items.parquet")
