"""Interactions: every malformed row has one defined outcome, an error that says where and what, or a count."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from malformed import GOOD, HEADER, RATED, Row, preprocess, write_parquet

from ur4rec.data.config import DataConfig
from ur4rec.data.errors import DataError
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
        ({"timestamp": [10**12] * 4}, r"column 'timestamp': values such as 1000000000000 look like milliseconds"),
    ],
)
def test_malformed_parquet(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "interactions.parquet", **changes)
    with pytest.raises(DataError, match=r"interactions\.parquet, " + message):
        preprocess_sequences(path, tmp_path / "sequences", DataConfig())
