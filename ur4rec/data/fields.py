"""Ids and numbers out of columns of any type, without a loop over rows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float64, Int64

from ur4rec.columns import GENRE_SEPARATOR
from ur4rec.data.config import BadRows
from ur4rec.data.errors import DataError
from ur4rec.data.tables import Table

NUMBER = r"^-?\d{1,20}(\.\d+)?([eE][+-]?\d{1,2})?$"
CANONICAL_INTEGER = r"^(0|-?[1-9]\d{0,17})$"
UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@dataclass(frozen=True)
class Ids:
    """A column of ids: each row's position among the distinct ones."""

    codes: Int64[np.ndarray, "R"]
    distinct: pa.StringArray
    missing: Bool[np.ndarray, "R"]
    """Null, empty or blank."""
    broken: Bool[np.ndarray, "R"]
    """Holds a line break, which is what a stray quote leaves behind."""


@dataclass(frozen=True)
class Numbers:
    """A column of numbers; rows that are missing or not a finite number hold 0."""

    values: Float64[np.ndarray, "R"]
    missing: Bool[np.ndarray, "R"]
    invalid: Bool[np.ndarray, "R"]


def parse_ids(table: Table, name: str) -> Ids:
    """Read ids as text, character by character as they stand (leading zeros, spaces, any script).

    Raises:
        DataError: The column's type cannot hold ids, for example fractions.
    """
    encoded = pc.dictionary_encode(_cast_ids(table, name), null_encoding="encode").combine_chunks()
    encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    distinct = encoded.dictionary.fill_null("")
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    missing = pc.equal(pc.utf8_trim_whitespace(distinct), "")
    broken = pc.match_substring_regex(distinct, r"[\r\n]")
    return Ids(codes, distinct, _to_mask(missing)[codes], _to_mask(broken)[codes])


def parse_numbers(table: Table, name: str) -> Numbers:
    """Read numbers from a column of text or numbers; Parquet's times become seconds since 1970-01-01.

    Raises:
        DataError: The column's type is neither.
    """
    column = table.columns[name]
    if _is_text(column.type):
        return _parse_text_numbers(column)
    try:
        values = _cast_numbers(column)
    except pa.ArrowException:
        raise DataError(f"{table.path}, column {name!r}: type {column.type} is not a number") from None
    missing = _to_mask(column.is_null())
    values = np.where(missing, 0.0, values)
    invalid = ~np.isfinite(values)
    return Numbers(np.where(invalid, 0.0, values), missing, invalid)


def parse_text(table: Table, name: str) -> pa.ChunkedArray:
    """Read text; a Parquet list of texts is joined with `|`; missing becomes empty.

    Raises:
        DataError: The column's type has no text form.
    """
    column = table.columns[name]
    try:
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            column = pc.binary_join(column.cast(pa.list_(pa.string())), GENRE_SEPARATOR)
        return column.cast(pa.string()).fill_null("")
    except pa.ArrowException:
        raise DataError(f"{table.path}, column {name!r}: type {column.type} is not text") from None


def is_integer_like(ids: pa.StringArray) -> bool:
    """Return whether every id is an integer as one would write it (no leading zeros, plus or spaces).

    >>> is_integer_like(pa.array(["7", "10"])), is_integer_like(pa.array(["07", "10"]))
    (True, False)
    """
    return bool(pc.all(pc.match_substring_regex(ids, CANONICAL_INTEGER)).as_py())


def sort_naturally(ids: pa.StringArray) -> Int64[np.ndarray, "N"]:
    """Return the positions of the ids in ascending order: by number if all are integers, else by code point.

    >>> sort_naturally(pa.array(["10", "9"])).tolist(), sort_naturally(pa.array(["10", "9", "b"])).tolist()
    ([1, 0], [0, 1, 2])
    """
    keys = ids.cast(pa.int64()) if is_integer_like(ids) else ids
    order: np.ndarray = pc.sort_indices(keys).to_numpy().astype(np.int64)
    return order


def _cast_ids(table: Table, name: str) -> pa.ChunkedArray:
    column = table.columns[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if _is_text(column.type) or pa.types.is_integer(column.type):
        return column.cast(pa.string())
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        with suppress(pa.ArrowException):  # whole numbers that a null has turned into fractions
            return column.cast(pa.int64()).cast(pa.string())
    raise DataError(
        f"{table.path}, column {name!r}: {column.type} values cannot be ids; expected text or whole numbers"
    )


def _parse_text_numbers(column: pa.ChunkedArray) -> Numbers:
    text = pc.utf8_trim_whitespace(column.cast(pa.string()).fill_null(""))
    missing = pc.equal(text, "")
    valid = pc.match_substring_regex(text, NUMBER)
    values = pc.if_else(valid, text, "0").cast(pa.float64())
    return Numbers(values.to_numpy(), _to_mask(missing), _to_mask(pc.invert(pc.or_(missing, valid))))


def _cast_numbers(column: pa.ChunkedArray) -> Float64[np.ndarray, "R"]:
    kind = column.type
    if pa.types.is_date(kind):
        kind = pa.timestamp("ms")
        column = column.cast(kind)
    if pa.types.is_timestamp(kind):
        return _to_floats(column.cast(pa.int64())) / UNITS_PER_SECOND[kind.unit]
    if pa.types.is_boolean(kind):
        raise pa.ArrowInvalid("a truth value is not a number")
    return _to_floats(column)


def _to_floats(column: pa.ChunkedArray) -> Float64[np.ndarray, "R"]:
    values: np.ndarray = column.cast(pa.float64(), safe=False).fill_null(0.0).to_numpy()
    return values


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _to_mask(mask: Any) -> Bool[np.ndarray, "R"]:
    flags: np.ndarray = mask.to_numpy(zero_copy_only=False) if isinstance(mask, pa.Array) else mask.to_numpy()
    return flags.astype(bool)


RAGGED = "ragged_row"


@dataclass(frozen=True)
class RowCheck:
    """One thing that can be wrong with a row."""

    reason: str
    """Name of the count in the manifest."""
    column: str
    expected: str
    fails: Bool[np.ndarray, "R"]


@dataclass(frozen=True)
class CheckedRows:
    """Outcome of the checks of one file."""

    keep: Bool[np.ndarray, "R"]
    excluded: dict[str, int]
    """Reason → rows dropped; a row counts once, under the first check that it fails."""


def check_ids(ids: Ids, column: str) -> list[RowCheck]:
    """Return the checks of an id column."""
    return [
        RowCheck(f"missing_{column}", column, "an id", ids.missing),
        RowCheck(f"broken_{column}", column, "an id on one line (is a quote left open?)", ids.broken),
    ]


def check_rows(table: Table, checks: Sequence[RowCheck], bad_rows: BadRows) -> CheckedRows:
    """Apply the checks in order.

    Raises:
        DataError: `bad_rows` is `error` and a row fails; names the first such row, its column and value, and
            how many more there are.
    """
    keep = np.ones(table.columns.num_rows, dtype=bool)
    excluded = {RAGGED: table.num_ragged} if table.num_ragged else {}
    for check in checks:
        fails = check.fails & keep
        keep &= ~fails
        if fails.any():
            excluded[check.reason] = int(fails.sum())
    if excluded and bad_rows == "error":
        raise DataError(_explain(table, checks, excluded))
    return CheckedRows(keep, excluded)


def _explain(table: Table, checks: Sequence[RowCheck], excluded: dict[str, int]) -> str:
    if RAGGED in excluded:
        first, where = RAGGED, table.locate_ragged()
    else:
        row, check = min(
            ((int(np.argmax(check.fails)), check) for check in checks if check.fails.any()),
            key=lambda pair: pair[0],
        )
        value = table.columns[check.column][row].as_py()
        first = check.reason
        where = f"{table.locate(row)}, column {check.column!r}: expected {check.expected}, got {value!r}"
    others = {reason: count - (reason == first) for reason, count in excluded.items()}
    listed = ", ".join(f"{count:,} {reason}" for reason, count in others.items() if count)
    more = f" ({sum(others.values()):,} more bad rows: {listed})" if listed else ""
    return f"{table.path}, {where}{more}. Correct the file, or set bad_rows: exclude to drop such rows and count them"
