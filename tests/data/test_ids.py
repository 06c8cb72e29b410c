"""Ids of every type and spelling."""

from __future__ import annotations

import doctest
import uuid
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from ur4rec.data import ids as ids_module
from ur4rec.data.errors import DataError
from ur4rec.data.ids import is_integer_like, parse_ids, sort_naturally
from ur4rec.data.tables import Table


def table(column: pa.Array) -> Table:
    return Table(Path("data.parquet"), pa.table({"column": column}))


def spell(column: pa.Array) -> list[str]:
    """The id of each row."""
    ids = parse_ids(table(column), "column")
    texts: list[str] = ids.distinct.take(pa.array(ids.codes)).to_pylist()
    return texts


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([7, -1, 7]), ["7", "-1", "7"]),
        (pa.array([2**63], pa.uint64()), ["9223372036854775808"]),
        (pa.array([1.0, 20.0]), ["1", "20"]),
        (pa.array([Decimal("5"), Decimal("6")]), ["5", "6"]),
        (pa.array(["007", " x ", "é"]), ["007", " x ", "é"]),
        (pa.array(["a"], pa.large_string()), ["a"]),
        (pa.array(["a"], pa.string_view()), ["a"]),
        (pa.array(["b", "a", "b"]).dictionary_encode(), ["b", "a", "b"]),
        (pa.array([3, 4, 3]).dictionary_encode(), ["3", "4", "3"]),
    ],
)
def test_ids_of_any_type_become_text(column: pa.Array, expected: list[str]) -> None:
    ids = parse_ids(table(column), "column")
    assert ids.distinct.take(pa.array(ids.codes)).to_pylist() == expected
    assert not ids.missing.any()


def test_ids_of_several_chunks_share_their_codes() -> None:
    chunks = pa.chunked_array([["a", "b"], ["b", None, "a"]])
    ids = parse_ids(Table(Path("data.parquet"), pa.table({"column": chunks})), "column")
    assert ids.codes.tolist() == [0, 1, 1, 2, 0]
    assert ids.missing.tolist() == [False, False, False, True, False]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["10", "9", "-1"], ["-1", "9", "10"]),
        (["10", "09", "9"], ["09", "10", "9"]),
        (["b", "a", "B", "é", "Z"], ["B", "Z", "a", "b", "é"]),
        (["99999999999999999999", "1000000000000000000000"], ["1000000000000000000000", "99999999999999999999"]),
    ],
)
def test_natural_order(ids: list[str], expected: list[str]) -> None:
    array = pa.array(ids)
    assert array.take(pa.array(sort_naturally(array))).to_pylist() == expected


@pytest.mark.parametrize("text", ["01", "+1", "1.0", " 1", "", "-0", "1e3", "١"])
def test_not_an_integer_as_one_writes_it(text: str) -> None:
    assert not is_integer_like(pa.array([text]))


def test_the_examples_hold() -> None:
    outcome = doctest.testmod(ids_module)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_bytes_uuids_and_long_decimals_are_ids() -> None:
    key = uuid.UUID("c4ca4238-a0b9-2382-0dcc-509a6f75849b")
    keys = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([key.bytes, None], pa.binary(16)))
    assert spell(keys) == [str(key), ""]
    for kind in (pa.binary(), pa.large_binary(), pa.binary(2), pa.binary_view()):
        assert spell(pa.array(["é".encode()], kind)) == ["é"]
    assert spell(pa.array([b"a", b"a"]).dictionary_encode()) == ["a", "a"]
    assert spell(pa.array([Decimal(10**20 + 1)], pa.decimal128(38, 0))) == ["100000000000000000001"]
    assert spell(pa.array([Decimal("5.00")], pa.decimal128(10, 2))) == ["5"]
    assert spell(pa.array([1.0, float("nan"), None])) == ["1", "", ""]
    assert parse_ids(table(pa.nulls(2)), "column").missing.all()


@pytest.mark.parametrize(
    "column",
    [
        pa.array([Decimal("5.50")], pa.decimal128(10, 2)),
        pa.array([1.5]),
        pa.array([True]),
        pa.array([0], pa.timestamp("ns")),
        pa.array([["a"]]),
    ],
)
def test_what_can_be_no_id(column: pa.Array) -> None:
    with pytest.raises(DataError, match=r"column 'column': .* values cannot be ids; expected text or whole numbers"):
        parse_ids(table(column), "column")


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(DataError, match=r"column 'column': holds bytes that are no UTF-8 text"):
        parse_ids(table(pa.array([b"\xff"])), "column")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["5.0", "7.0", "5.0"], ["5", "7", "5"]),
        (["5", "5.0", "-3.00", "0."], ["5", "5", "-3", "0"]),
        (["", "5.0", "NA"], ["", "5", "NA"]),
        (["5.0", "5.5"], ["5.0", "5.5"]),
        (["5.0", "v1"], ["5.0", "v1"]),
        (["5.0", "007"], ["5.0", "007"]),
        (["1e5", "a3"], ["1e5", "a3"]),
        (["1.2e-5", "v"], ["1.2e-5", "v"]),
        (["99999999999999999999", "1"], ["99999999999999999999", "1"]),
    ],
)
def test_whole_numbers_lose_their_point_where_all_are_whole(written: list[str], read: list[str]) -> None:
    assert spell(pa.array(written)) == read


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["1", "1.2e+18"]),
        pa.array(["a", "1.00000E+11"]),
        pa.array(["b", "1,2E+18"]),
        pa.array(["3", "1.2345678E7"]),
        pa.array(["1.0", "9007199254740992.0"]),
        pa.array([1.0, 9007199254740992.0]),
        pa.array([1.0, None, -(2.0**60)]),
        pa.array([1.0, 2.0**24], pa.float32()),
    ],
)
def test_ids_that_have_lost_digits_are_refused(column: pa.Array) -> None:
    with pytest.raises(DataError, match=r"row [23], column 'column': .* has lost digits; .* as text or whole numbers"):
        parse_ids(table(column), "column")


@pytest.mark.parametrize(
    ("written", "num_similar"),
    [
        (["B1", "B1 ", "b1", "B2"], 2),
        (["7", "07", "007", "70"], 2),
        (["a b", "ab"], 1),
        (["5.0", "5", "x"], 1),
        (["0", "00", "x"], 1),
        (["1", "2", "3"], 0),
        (["NA", "na", "x"], 0),
    ],
)
def test_ids_that_are_hardly_different_are_counted(written: list[str], num_similar: int) -> None:
    assert parse_ids(table(pa.array(written)), "column").num_similar == num_similar


def test_a_word_for_a_missing_id_may_be_meant() -> None:
    column = pa.array(["NA", "na", "null", None, "x"])
    assert parse_ids(table(column), "column").missing.tolist() == [True, True, True, True, False]
    assert parse_ids(table(column), "column", ["NA"]).missing.tolist() == [False, True, True, True, False]
