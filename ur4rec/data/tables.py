"""A file of any known format as a table with the project's own column names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from ur4rec.columns import ITEM_ID, RATING, TIMESTAMP, TITLE, USER_ID
from ur4rec.data.column_names import match_columns
from ur4rec.data.errors import DataError
from ur4rec.data.formats.delimited import NO_ROWS, NUMBER
from ur4rec.data.formats.reader import Reader, Rows
from ur4rec.data.formats.table_of_formats import open_table
from ur4rec.data.list_columns import Columns, is_list, join_texts, read_lists, tidy_interactions


@dataclass(frozen=True)
class ReadOptions:
    """What a user says of a file, because it does not say so itself."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Role, such as `user_id`, → column of the file."""
    encoding: str | None = None
    """Encoding of a text; None: UTF-8, or what a byte order mark names."""


AS_IT_IS = ReadOptions()
UNNAMED = "a column without a name"
MOST_SHOWN = 10
DECIMAL_COMMA = r"^\s*(-?\d+),(\d+)\s*$"


@dataclass(frozen=True)
class Table:
    """The wanted columns of a file, as read, under the names of their roles."""

    path: Path
    columns: pa.Table
    """Texts hold text throughout; others have the types of the file."""
    num_ragged: int = 0
    """Rows with too few or too many fields, or that are none, left out of `columns`."""
    read_as: str = ""
    """The format in words."""
    used: Mapping[str, str] = field(default_factory=dict)
    """Role → column of the file."""
    unused: tuple[str, ...] = ()
    """Columns of the file that play no role."""
    are_positions: bool = False
    """Whether the times are positions in a user's list, for want of times."""
    reader: Reader | None = None
    places: Int64[np.ndarray, "R"] | None = None
    """What the reader locates each row by; None: by its number."""

    @property
    def num_rows(self) -> int:
        """Rows of the file below the column names."""
        return int(self.columns.num_rows) + self.num_ragged

    def name(self, role: str) -> str:
        """Name the column of a role as the file does, and the role where its name is another."""
        name = self.used.get(role, role)
        return f"column {name!r}" + ("" if name == role else f" (as {role})")

    def locate(self, row: int) -> str:
        """Tell where a row of `columns` stands in the file: its 1-based line, or its row where there are no lines."""
        place = row if self.places is None else int(self.places[row])
        return self.reader.locate(place) if self.reader else f"row {place + 1}"

    def locate_ragged(self) -> str:
        """Tell where the first row with too few or too many fields stands, and the two numbers."""
        return self.reader.locate_ragged() if self.reader else ""


def describe(table: Table) -> dict[str, Any]:
    """Tell how a file was understood, for the manifest."""
    positions = {"are_positions": True} if table.are_positions else {}
    return {"read_as": table.read_as, "columns": dict(table.used), "unused": list(table.unused), **positions}


def read_table(path: Path, required: Sequence[str], optional: Sequence[str], options: ReadOptions = AS_IT_IS) -> Table:
    """Read the columns of the `required` roles and of those of the `optional` ones that have a column.

    Raises:
        DataError: The file is missing, empty, in an unknown encoding, not a table, or lacks a required column.
    """
    given = _select_given(required, options.columns)
    reader = open_table(path, required, options.encoding, any(map(str.isdecimal, given.values())))
    used = _match(reader, required, optional, given)
    rows = reader.read(list(dict.fromkeys(used.values())))
    columns: Columns = {role: rows.columns[name] for role, name in used.items()}
    if USER_ID in used:
        columns, rows = tidy_interactions(reader, rows, _undo_decimal_commas(columns, rows))
    table = Table(
        path,
        columns=pa.table(join_texts(columns)),
        num_ragged=rows.num_ragged,
        read_as=reader.read_as,
        used=used,
        unused=tuple(name.strip() or UNNAMED for name in reader.names if name not in used.values()),
        are_positions=rows.are_positions,
        reader=reader,
        places=rows.places,
    )
    if table.num_rows == 0:
        raise DataError(f"{path}: {NO_ROWS}")
    return table


def _select_given(required: Sequence[str], given: Mapping[str, str]) -> Mapping[str, str]:
    """Return the columns that the user names and this file has: positions are those of an item table with its title."""
    if USER_ID in required or given.get(TITLE, "").isdecimal():
        return given
    return {role: column for role, column in given.items() if not column.isdecimal()}


def _match(
    reader: Reader, required: Sequence[str], optional: Sequence[str], given: Mapping[str, str]
) -> Mapping[str, str]:
    found = reader.names
    given = {role: _name_column(column, found) for role, column in given.items()}
    try:
        used = match_columns(found, required, optional, given)
    except DataError as error:
        if any(map(NUMBER.fullmatch, found)):
            raise DataError(f"{reader.path}, first line: {_explain_headerless(found, required)}") from None
        if untimed := _match_without_times(reader, required, optional, given):
            return untimed
        raise DataError(f"{reader.path}, first line: {error}") from None
    doubled = [name for name, count in Counter(found).items() if count > 1 and name in used.values()]
    if doubled:
        raise DataError(f"{reader.path}: column {doubled[0]!r} occurs more than once; keep one of them")
    return used


def _name_column(column: str, found: Sequence[str]) -> str:
    """Return the name of a column that is given by its position, from 1."""
    is_position = column.isdecimal() and column not in found and 1 <= int(column) <= len(found)
    return found[int(column) - 1] if is_position else column


def _match_without_times(
    reader: Reader, required: Sequence[str], optional: Sequence[str], given: Mapping[str, str]
) -> Mapping[str, str] | None:
    """Match columns without that of times where the items are lists, whose order stands in for times."""
    untimed = [role for role in required if role != TIMESTAMP]
    with suppress(DataError):
        used = match_columns(reader.names, untimed, optional, given)
        if USER_ID in used and is_list(read_lists(reader.read([used[ITEM_ID]]).columns[0]).type):
            return used
    return None


def _explain_headerless(found: Sequence[str], required: Sequence[str]) -> str:
    positions = ",".join(f"{role}={position}" for position, role in enumerate(required, 1))
    shown = ", ".join(map(repr, found[:MOST_SHOWN]))
    return (
        f"{shown} are no column names; where a file has none, say what stands where, such as --set columns={positions}"
    )


def _undo_decimal_commas(columns: Columns, rows: Rows) -> Columns:
    if not rows.has_decimal_commas:
        return columns
    return {
        role: pc.replace_substring_regex(column, DECIMAL_COMMA, r"\1.\2") if role in (TIMESTAMP, RATING) else column
        for role, column in columns.items()
    }
