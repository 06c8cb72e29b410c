"""Ids out of columns of any type, without a loop over rows: one text for each user and item, however it is written.

Letters: R rows, D distinct ids.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int64

from ur4rec.data.errors import DataError
from ur4rec.data.fields import RowCheck, is_no_value, to_mask, unpack
from ur4rec.data.fields import is_text as holds_text
from ur4rec.data.tables import Table

CANONICAL_INTEGER = r"^(0|-?[1-9]\d{0,17})$"
WHOLE = r"^(0|-?[1-9]\d*)(\.0*)?$"
NUMBER = r"^-?\d+(\.\d*)?([eE][+-]?\d+)?$"
ROUNDED = r"^-?\d([.,]\d+)?[eE]\+\d{2,3}$"
"""As spreadsheets and pandas write a number that is too long for them."""
SPACED_FROM = {16: 2**11, 32: 2**24, 64: 2**53}
"""Bits of a floating-point number → from here on, different whole numbers become one in it."""
WRITE_AGAIN = "Write them again from their source, as text or whole numbers"


@dataclass(frozen=True)
class Ids:
    """A column of ids: each row's position among the distinct ones."""

    codes: Int64[np.ndarray, "R"]
    distinct: pa.StringArray
    missing: Bool[np.ndarray, "R"]
    """Null, empty, blank, or a word for a missing value."""
    broken: Bool[np.ndarray, "R"]
    """Holds a line break, which is what a stray quote leaves behind."""
    num_similar: int = 0
    """Ids that differ from another one in nothing but blanks, case, leading zeros or `.0`."""


def parse_ids(table: Table, name: str, literal: Sequence[str] = ()) -> Ids:
    """Read ids as text, character by character as they stand (leading zeros, spaces, any script).

    Where every id is a whole number, `5.0` is `5`.

    Args:
        table: Holds the column.
        name: The column.
        literal: Ids that are no words for a missing one, though they look so.

    Raises:
        DataError: The column's type cannot hold ids, for example fractions, or ids have lost digits.
    """
    distinct, codes = _encode(table, name)
    missing = _find_missing(distinct, literal)
    present = distinct.filter(pa.array(~missing))
    if is_integer_like(present):
        nothing = np.zeros(len(codes), dtype=bool)
        return Ids(codes, distinct, missing[codes], nothing)
    are_numbers = bool(pc.all(pc.match_substring_regex(present, NUMBER)).as_py())
    _refuse_rounded(table, name, distinct, codes, are_numbers)
    if are_numbers and pc.all(pc.match_substring_regex(present, WHOLE)).as_py():
        merged = pc.replace_substring_regex(distinct, r"\.0*$", "").dictionary_encode()
        distinct, codes = merged.dictionary, _to_codes(merged)[codes]
        missing = _find_missing(distinct, literal)
    broken = to_mask(pc.match_substring_regex(distinct, r"[\r\n]"))
    return Ids(codes, distinct, missing[codes], broken[codes], _count_similar(distinct.filter(pa.array(~missing))))


def check_ids(ids: Ids, column: str) -> list[RowCheck]:
    """Return the checks of an id column."""
    return [
        RowCheck(f"missing_{column}", column, "an id", ids.missing),
        RowCheck(f"broken_{column}", column, "an id on one line (is a quote left open?)", ids.broken),
    ]


def is_integer_like(ids: pa.StringArray) -> bool:
    """Return whether every id is an integer as one would write it (no leading zeros, plus or spaces).

    >>> is_integer_like(pa.array(["7", "10"])), is_integer_like(pa.array(["07", "10"]))
    (True, False)
    """
    return bool(pc.all(pc.match_substring_regex(ids, CANONICAL_INTEGER)).as_py())


def sort_naturally(ids: pa.StringArray) -> Int64[np.ndarray, "D"]:
    """Return the positions of the ids in ascending order: by number if all are integers, else by code point.

    >>> sort_naturally(pa.array(["10", "9"])).tolist(), sort_naturally(pa.array(["10", "9", "b"])).tolist()
    ([1, 0], [0, 1, 2])
    """
    keys = ids.cast(pa.int64()) if is_integer_like(ids) else ids
    order: np.ndarray = pc.sort_indices(keys).to_numpy().astype(np.int64)
    return order


def _encode(table: Table, name: str) -> tuple[pa.StringArray, Int64[np.ndarray, "R"]]:
    """Return the distinct ids as text, and each row's position among them; missing ones are empty."""
    column = table.columns[name]
    is_uuid = isinstance(column.type, pa.UuidType)
    values = column.cast(column.type.storage_type) if is_uuid else _cast_ids(table, name)
    encoded = pc.dictionary_encode(values, null_encoding="encode").combine_chunks()
    encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    distinct = encoded.dictionary
    if is_uuid:
        distinct = pa.array([value and str(uuid.UUID(bytes=value)) for value in distinct.to_pylist()], pa.string())
    return distinct.fill_null(""), _to_codes(encoded)


def _to_codes(encoded: pa.DictionaryArray) -> Int64[np.ndarray, "R"]:
    codes: np.ndarray = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def _cast_ids(table: Table, name: str) -> pa.ChunkedArray:
    column = unpack(table, name)
    try:
        if pa.types.is_floating(column.type):
            column = _cast_floats(table, name, column)
        if pa.types.is_decimal(column.type) and column.type.scale:
            column = column.cast(pa.decimal128(38, 0))
        if holds_text(column.type) or any(
            test(column.type) for test in (pa.types.is_integer, pa.types.is_decimal, pa.types.is_null)
        ):
            return column.cast(pa.string())
    except pa.ArrowException:  # fractions
        pass
    raise DataError(
        f"{table.path}, {table.name(name)}: {column.type} values cannot be ids; expected text or whole numbers"
    )


def _cast_floats(table: Table, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return whole numbers that a missing value has turned into fractions."""
    limit = SPACED_FROM[column.type.bit_width]
    column = column.cast(pa.float64())
    column = pc.if_else(pc.is_nan(column), None, column)
    large = to_mask(pc.greater_equal(pc.abs(column), limit).fill_null(False))
    if large.any():
        _refuse_lost(table, name, int(np.argmax(large)), f"in floating point, different ids above {limit:,} become one")
    return column.cast(pa.int64())


def _find_missing(distinct: pa.StringArray, literal: Sequence[str]) -> Bool[np.ndarray, "D"]:
    return np.asarray(to_mask(is_no_value(distinct)) & ~to_mask(pc.is_in(distinct, pa.array(literal, pa.string()))))


def _refuse_rounded(
    table: Table, name: str, distinct: pa.StringArray, codes: Int64[np.ndarray, "R"], are_numbers: bool
) -> None:
    lost = pc.match_substring_regex(distinct, ROUNDED)
    if are_numbers:
        has_point = pc.match_substring(distinct, ".")
        numbers = pc.if_else(pc.match_substring_regex(distinct, NUMBER), distinct, "0").cast(pa.float64())
        large = pc.and_(has_point, pc.greater_equal(pc.abs(numbers), SPACED_FROM[64]))
        lost = pc.or_(pc.or_(lost, large), pc.match_substring_regex(distinct, r"\d[eE]"))
    flags = to_mask(lost)
    if flags.any():
        reason = "a spreadsheet or a floating-point column has rounded it, so different ids may have become one"
        _refuse_lost(table, name, int(np.argmax(flags[codes])), reason)


def _refuse_lost(table: Table, name: str, row: int, reason: str) -> None:
    value = table.columns[name][row].as_py()
    raise DataError(
        f"{table.path}, {table.locate(row)}, {table.name(name)}: {value!r} has lost digits; {reason}. {WRITE_AGAIN}"
    )


def _count_similar(ids: pa.StringArray) -> int:
    spelled = ids if pc.all(pc.string_is_ascii(ids)).as_py() else pc.utf8_normalize(ids, "NFKC")
    folded = pc.utf8_lower(pc.replace_substring(pc.utf8_trim_whitespace(spelled), " ", ""))
    if pc.any(pc.ends_with(folded, ".0")).as_py():
        folded = pc.replace_substring_regex(folded, r"\.0+$", "")
    return len(ids) - int(pc.count_distinct(pc.ascii_ltrim(folded, "0")).as_py())
