"""Columns of every type a file may hold."""

from __future__ import annotations

import doctest
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ur4rec.data import fields
from ur4rec.data.fields import is_integer_like, parse_ids, parse_numbers, parse_text, sort_naturally
from ur4rec.data.tables import Table


def table(column: pa.Array) -> Table:
    return Table(Path("data.parquet"), pa.table({"column": column}))


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
    ("column", "expected"),
    [
        (pa.array(["5", " 6 ", "7.25", "-1e2"]), [5, 6, 7.25, -100]),
        (pa.array([5, 6], pa.int8()), [5, 6]),
        (pa.array([5.5], pa.float32()), [5.5]),
        (pa.array([Decimal("1.5")]), [1.5]),
        (pa.array([datetime(1970, 1, 1, 0, 1, tzinfo=UTC)], pa.timestamp("ns", "UTC")), [60]),
        (pa.array([datetime(1970, 1, 1, 1)], pa.timestamp("s")), [3600]),
        (pa.array([date(1970, 1, 2)]), [86_400]),
    ],
)
def test_numbers_of_any_type(column: pa.Array, expected: list[float]) -> None:
    numbers = parse_numbers(table(column), "column")
    assert numbers.values.tolist() == expected
    assert not (numbers.missing | numbers.invalid).any()


def test_missing_and_invalid_numbers_are_apart() -> None:
    text = parse_numbers(table(pa.array(["1", "", None, "x", "inf", "+1", "1_0"])), "column")
    assert text.missing.tolist() == [False, True, True, False, False, False, False]
    assert text.invalid.tolist() == [False, False, False, True, True, True, True]
    floats = parse_numbers(table(pa.array([1.0, None, np.nan, np.inf])), "column")
    assert floats.missing.tolist() == [False, True, False, False]
    assert floats.invalid.tolist() == [False, False, True, True]


def test_lists_of_texts_are_joined() -> None:
    column = pa.array([["Action", "Drama"], [], None])
    assert parse_text(table(column), "column").to_pylist() == ["Action|Drama", "", ""]


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
    outcome = doctest.testmod(fields)
    assert outcome.attempted > 0
    assert outcome.failed == 0
