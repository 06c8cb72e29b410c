"""Columns of every type a file may hold."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ur4rec.data.errors import DataError
from ur4rec.data.fields import RowCheck, check_rows, parse_numbers, parse_text
from ur4rec.data.tables import Table


def table(column: pa.Array) -> Table:
    return Table(Path("data.parquet"), pa.table({"column": column}))


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


def test_a_message_shows_the_beginning_of_a_long_value() -> None:
    check = RowCheck("odd", "column", "something short", np.array([True]))
    with pytest.raises(DataError, match=r"got 'x{99}…\. Correct"):
        check_rows(table(pa.array(["x" * 5_000])), [check], "error")
