"""Interactions: every malformed row has one defined outcome, an error that says where and what, or a count."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import pytest
from malformed import GOOD, HEADER, RATED, Row, preprocess, write_parquet

from ur4rec.data.config import DataConfig
from ur4rec.data.errors import DataError
from ur4rec.data.interactions import read_interactions
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import load_sequences
from ur4rec.data.summary import exclusion_table

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


def reading_ratings(case: Row) -> dict[str, Any]:
    return {"min_rating": 0} if case.header == RATED else {}


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
def test_malformed_row_is_an_error_that_names_its_line(case: Row, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"interactions\.csv, line 4, {case.message}\. .*bad_rows: exclude"):
        preprocess(tmp_path, with_bad_row(case), **reading_ratings(case))


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
def test_malformed_row_is_dropped_and_counted_on_request(case: Row, tmp_path: Path) -> None:
    manifest = preprocess(tmp_path, with_bad_row(case), bad_rows="exclude", **reading_ratings(case))
    assert manifest.details["excluded_rows"] == {case.reason: 1}
    assert manifest.details["rows"] == {"read": 5, "train": 2, "val": 1, "test": 1}
    assert (f"interactions left out: {case.reason.replace('_', ' ')}", 1) in exclusion_table(manifest)


def test_the_first_bad_row_is_named_and_the_others_are_counted(tmp_path: Path) -> None:
    content = HEADER + "u,a,1\nu,b,x\n,b,2\nu,c,y\nu,d,-1\n"
    with pytest.raises(
        DataError,
        match=r"line 3, .* got 'x' \(3 more bad rows: 1 missing_user_id, 1 invalid_timestamp, 1 negative_timestamp\)",
    ):
        preprocess(tmp_path, content)


def test_a_row_with_two_faults_counts_once(tmp_path: Path) -> None:
    manifest = preprocess(tmp_path, HEADER + GOOD + ",e,never\n", bad_rows="exclude")
    assert manifest.details["excluded_rows"] == {"missing_user_id": 1}


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
    assert manifest.details["timestamps"] == {
        "first_s": 1,
        "last_s": 7,
        "cut_to_whole_seconds": 2,
        "tied_targets": 0,
        "newest_first": 1.0,
    }


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


@pytest.mark.parametrize("item_id", ["007", " padded ", "żółw 🐢", "NAN1", "-1", 'say "hi", twice', "1.0"])
def test_ids_survive_as_they_stand(item_id: str, tmp_path: Path) -> None:
    quoted = item_id.replace('"', '""')
    preprocess(tmp_path, HEADER + f'u,7,1\nu,"{quoted}",2\nu,c,3\n')
    sequences = load_sequences(tmp_path / "sequences")
    assert set(sequences.item_ids) == {"", "7", item_id, "c"}
    assert item_id in sequences.items["item_id"].tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timestamp": [1.0, float("inf"), 3.0, 4.0]}, r"row 2, column 'timestamp': .*, got inf"),
        ({"timestamp": [1, 2, None, 4]}, r"row 3, column 'timestamp': .*, got None"),
        ({"timestamp": ["1", "2", "3", "x"]}, r"row 4, column 'timestamp': .*, got 'x'"),
        (
            {"timestamp": [[1], [2], [3], [4]]},
            r"row 1, column 'timestamp': .* is a list beside one item; expected one row an interaction",
        ),
        ({"timestamp": [True, False, True, True]}, r"column 'timestamp': type bool is not a number"),
        ({"user_id": [1, None, 1, 1]}, r"row 2, column 'user_id': expected an id, got (nan|None)"),
        (
            {"user_id": [1.5, 1.5, 1.5, 1.5]},
            r"column 'user_id': double values cannot be ids; expected text or whole num",
        ),
        ({"user_id": [{"a": 1}] * 4}, r"column 'user_id': struct<.*> values cannot be ids"),
    ],
)
def test_malformed_parquet(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "interactions.parquet", **changes)
    with pytest.raises(DataError, match=r"interactions\.parquet, " + message):
        preprocess_sequences(path, tmp_path / "sequences", DataConfig())


@pytest.mark.parametrize("ratings", ["NA,NA,NA,NA", "view,view,buy,view", "True,False,True,True", '"4,5",5,,x'])
def test_a_rating_that_is_not_used_makes_no_row_bad(ratings: str, tmp_path: Path) -> None:
    values = next(csv.reader([ratings]))
    rows = "".join(f'{row},"{value}"\n' for row, value in zip(GOOD.splitlines(), values, strict=True))
    manifest = preprocess(tmp_path, RATED + rows)
    assert manifest.details["excluded_rows"] == {}
    assert manifest.details["num_interactions"] == 4


def test_truth_values_are_no_ratings(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "interactions.parquet", rating=[True, False, True, True])
    assert read_interactions(path, DataConfig()).ratings is None
    with pytest.raises(DataError, match="column 'rating': type bool is not a number"):
        read_interactions(path, DataConfig(min_rating=1))


@pytest.mark.parametrize("word", ["NA", "N/A", "NULL", "null", "nan", "NaN", "None", r"\N", "<NA>", " NA "])
def test_a_word_for_a_missing_id_is_no_id(word: str, tmp_path: Path) -> None:
    content = HEADER + GOOD + f"{word},a,5\nu,{word},6\n"
    with pytest.raises(DataError, match=r"line 6, column 'user_id': expected an id, got .* 1 missing_item_id"):
        preprocess(tmp_path, content)
    manifest = preprocess(tmp_path, content, bad_rows="exclude")
    assert manifest.details["excluded_rows"] == {"missing_user_id": 1, "missing_item_id": 1}


def test_an_item_may_be_called_like_a_missing_one(tmp_path: Path) -> None:
    config: dict[str, Any] = {"literal_item_ids": ["NA", "null"], "bad_rows": "exclude"}
    content = HEADER + GOOD + "u,NA,5\nu,null,6\nNA,a,7\nu,na,8\n"
    manifest = preprocess(tmp_path, content, "item_id,title\na,A\nNA,Not available\n", **config)
    assert load_sequences(tmp_path / "sequences").item_ids == ("", "NA", "a", "b", "c", "d", "null")
    assert load_sequences(tmp_path / "sequences").items["title"].tolist()[0] == "Not available"
    assert manifest.details["excluded_rows"] == {"missing_user_id": 1, "missing_item_id": 1}


def test_what_a_file_was_read_as_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text("user_id,item_id,timestamp,event\nu,a,1500000000000,view\nu,A,1500000001000,buy\nu,b ,1,view\n")
    reading = read_interactions(path, DataConfig(bad_rows="exclude")).reading
    assert reading["time_unit"] == "milliseconds"
    assert reading["similar_ids"] == {"user_id": 0, "item_id": 1}
    assert reading["events"] == {"view": 2, "buy": 1}


def test_rows_in_another_unit_are_bad_rows(tmp_path: Path) -> None:
    start = 1_500_000_000
    rows = [f"u,{item},{start + item}\n" for item in range(8)]
    content = HEADER + "".join([*rows[:4], f"u,x,{start}000\n", "u,y,20170714\n", *rows[4:]])
    with pytest.raises(
        DataError,
        match=r"line 6, column 'timestamp': expected seconds as in the other rows, got '1500000000000' "
        r"\(1 more bad rows: 1 mixed_time_unit\)",
    ):
        preprocess(tmp_path, content)
    manifest = preprocess(tmp_path, content, bad_rows="exclude")
    assert manifest.details["excluded_rows"] == {"mixed_time_unit": 2}
