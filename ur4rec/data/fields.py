"""Numbers and texts out of columns of any type, without a loop over rows, and what is wrong with a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float64

from ur4rec.columns import GENRE_SEPARATOR
from ur4rec.data.config import BadRows
from ur4rec.data.errors import DataError
from ur4rec.data.tables import Table

NUMBER = r"^-?\d{1,20}(\.\d+)?([eE][+-]?\d{1,2})?$"
UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
NO_TEXT = pa.array(["\\N", "NULL", "<NA>", "NaN", "nan", "None", "#N/A"])
"""What programs write for a missing text. `NA`, `null` and `none` may be meant as they stand, in a title above all."""
NO_VALUE = pa.array(["", "na", "n/a", "#n/a", "nan", "null", "none", "<na>", "\\n"])
"""What stands for a missing id or number, in small letters."""
LEADING_ROWS = 10_000


@dataclass(frozen=True)
class Numbers:
    """A column of numbers; rows that are missing or not a finite number hold 0."""

    values: Float64[np.ndarray, "R"]
    missing: Bool[np.ndarray, "R"]
    invalid: Bool[np.ndarray, "R"]


def parse_numbers(table: Table, name: str, with_words: bool = False) -> Numbers:
    """Read numbers from a column of text or numbers; Parquet's times become seconds since 1970-01-01.

    Args:
        table: Holds the column.
        name: The column.
        with_words: Whether `NA` and the like are missing too, else they are no numbers.

    Raises:
        DataError: The column's type is neither.
    """
    column = unpack(table, name)
    if is_text(column.type):
        return _parse_text_numbers(column, with_words)
    try:
        values = _cast_numbers(column)
    except pa.ArrowException:
        raise DataError(f"{table.path}, {table.name(name)}: type {column.type} is not a number") from None
    missing = to_mask(column.is_null(nan_is_null=with_words))
    values = np.where(missing, 0.0, values)
    invalid = ~np.isfinite(values)
    return Numbers(np.where(invalid, 0.0, values), missing, invalid)


def parse_text(table: Table, name: str) -> pa.ChunkedArray:
    """Read text; a Parquet list of texts is joined with `|`; missing becomes empty, and so does what stands for it.

    Raises:
        DataError: The column's type has no text form.
    """
    column = unpack(table, name)
    try:
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            column = pc.binary_join(column.cast(pa.list_(pa.string())), GENRE_SEPARATOR)
        return blank_missing(column.cast(pa.string()))
    except pa.ArrowException:
        raise DataError(f"{table.path}, {table.name(name)}: type {column.type} is not text") from None


def blank_missing(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts without nulls and without what programs write for them."""
    return pc.if_else(pc.is_in(texts, NO_TEXT), "", texts).fill_null("")


def unpack(table: Table, name: str) -> pa.ChunkedArray:
    """Return a column with the values of categories and the text of bytes.

    Raises:
        DataError: Bytes are no UTF-8.
    """
    column = table.columns[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    is_bytes = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    if not any(test(column.type) for test in is_bytes):
        return column
    try:
        return column.cast(pa.string())
    except pa.ArrowException:
        raise DataError(f"{table.path}, {table.name(name)}: holds bytes that are no UTF-8 text") from None


def is_no_value(texts: Any) -> Any:
    """Mark texts that are blank, or words for a missing value."""
    return pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(texts)), NO_VALUE)


def trim(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts without the blanks around them; empty for a null."""
    return pc.utf8_trim_whitespace(texts.cast(pa.string()).fill_null(""))


def is_text(kind: pa.DataType) -> bool:
    """Return whether a type is one of texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_numeric_text(column: pa.ChunkedArray) -> bool:
    """Return whether a column of texts holds numbers, by its first rows that are not empty."""
    texts = trim(column.slice(0, LEADING_ROWS))
    texts = texts.filter(pc.not_equal(texts, ""))
    return 2 * int(pc.sum(pc.match_substring_regex(texts, NUMBER)).as_py() or 0) >= len(texts)


def to_mask(mask: Any) -> Bool[np.ndarray, "R"]:
    """Return Arrow's truth values as an array."""
    flags: np.ndarray = mask.to_numpy(zero_copy_only=False) if isinstance(mask, pa.Array) else mask.to_numpy()
    return flags.astype(bool)


def _parse_text_numbers(column: pa.ChunkedArray, with_words: bool) -> Numbers:
    text = trim(column)
    missing = is_no_value(text) if with_words else pc.equal(text, "")
    valid = pc.match_substring_regex(text, NUMBER)
    values = pc.if_else(valid, text, "0").cast(pa.float64())
    return Numbers(values.to_numpy(), to_mask(missing), to_mask(pc.invert(pc.or_(missing, valid))))


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


RAGGED = "ragged_row"
MOST_SHOWN = 100
"""Characters of a value that a message shows."""


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
        value = repr(table.columns[check.column][row].as_py())
        value = value if len(value) <= MOST_SHOWN else f"{value[:MOST_SHOWN]}…"
        first = check.reason
        where = f"{table.locate(row)}, {table.name(check.column)}: expected {check.expected}, got {value}"
    others = {reason: count - (reason == first) for reason, count in excluded.items()}
    listed = ", ".join(f"{count:,} {reason}" for reason, count in others.items() if count)
    more = f" ({sum(others.values()):,} more bad rows: {listed})" if listed else ""
    return f"{table.path}, {where}{more}. Correct the file, or set bad_rows: exclude to drop such rows and count them"
