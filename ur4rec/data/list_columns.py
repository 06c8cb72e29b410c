"""One row a user, with lists of items and times, taken apart into one row an interaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from ur4rec.columns import ITEM_ID, TIMESTAMP, TITLE, USER_ID
from ur4rec.data.errors import DataError
from ur4rec.data.formats.reader import Reader, Rows

ENTRY = r"""(?:[.:+-]*\w[\w.:+-]*|'[^',\s]*'|"[^",\s]*")"""
WRITTEN_LIST = rf"^\s*\[\s*(?:{ENTRY}(?:(?:\s*,\s*|\s+){ENTRY})*)?\s*\]\s*$"
"""A list as pandas, numpy or JSON write it into one field."""
MOST_SHOWN = 40
SEVERAL = r"(?s)^\[.*[,\s].*\]$"

Columns = Mapping[str, pa.ChunkedArray]


@dataclass(frozen=True)
class Lists:
    """Columns by role, as read from a file."""

    reader: Reader
    rows: Rows
    columns: Columns

    def take_apart(self) -> tuple[Columns, Int64[np.ndarray, "R"], bool]:
        """Return the columns with a row an interaction, the row of the file of each, and whether positions are times.

        Raises:
            DataError: Lists of a row have different lengths, or some role has none; says what to do.
        """
        items = self.columns[ITEM_ID].combine_chunks()
        lengths = pc.list_value_length(items).fill_null(0)
        rows = np.repeat(np.arange(len(items)), lengths.to_numpy(zero_copy_only=False))
        flat = {ITEM_ID: pc.list_flatten(items)}
        for role, column in self.columns.items():
            if is_list(column.type):
                self._check_lengths(role, pc.list_value_length(column.combine_chunks()).fill_null(0), lengths)
                flat[role] = pc.list_flatten(column)
            elif role == TIMESTAMP:
                raise self._refuse(0, ITEM_ID, "is a list beside one timestamp")
            else:
                flat[role] = column.take(pa.array(rows))
        if TIMESTAMP not in self.columns:
            self._refuse_repeated_users()
            flat[TIMESTAMP] = pa.array(pd.Series(rows).groupby(rows).cumcount().to_numpy())
        return flat, rows, TIMESTAMP not in self.columns

    def refuse_any(self) -> None:
        """Refuse a list where one value is expected."""
        items = self.columns[ITEM_ID]
        if is_text(items.type) and pc.any(pc.starts_with(items, "[")).as_py():
            several = pc.match_substring_regex(items, SEVERAL).fill_null(False).to_numpy()
            if several.any():
                raise self._refuse(int(several.argmax()), ITEM_ID, "is a list")
        for role in (USER_ID, TIMESTAMP):
            if role in self.columns and is_list(self.columns[role].type):
                raise self._refuse(0, role, "is a list beside one item")

    def _check_lengths(self, role: str, found: pa.Array, expected: pa.Array) -> None:
        differ = pc.not_equal(found, expected).to_numpy(zero_copy_only=False)
        if differ.any():
            row = int(differ.argmax())
            raise self._refuse(row, role, f"is a list of {found[row]} beside {expected[row]} items")

    def _refuse_repeated_users(self) -> None:
        repeated = self.columns[USER_ID].to_pandas().duplicated().to_numpy()
        if repeated.any():
            raise self._refuse(int(repeated.argmax()), USER_ID, "has a second list without times")

    def _refuse(self, row: int, role: str, fault: str) -> DataError:
        value = str(self.columns[role][row].as_py())[:MOST_SHOWN]
        where = self.reader.locate(row if self.rows.places is None else int(self.rows.places[row]))
        return DataError(
            f"{self.reader.path}, {where}, column {role!r}: {value!r} {fault}; expected one row an interaction, or "
            f"lists of items and of their times, of one length; in pandas: table.explode([{ITEM_ID!r}, …])"
        )


def is_list(kind: pa.DataType) -> bool:
    """Return whether values of a type are lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_text(kind: pa.DataType) -> bool:
    """Return whether values of a type are texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def read_lists(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of texts as one of lists where every text is a written list."""
    if not is_text(column.type) or not len(column) or not str(column[0].as_py()).lstrip().startswith("["):
        return column
    if not pc.all(pc.match_substring_regex(column, WRITTEN_LIST)).as_py():
        return column
    bare = pc.utf8_trim_whitespace(pc.replace_substring_regex(column, r"""[\[\],'"]""", " "))
    return pc.utf8_split_whitespace(bare)


def tidy_interactions(reader: Reader, rows: Rows, columns: Columns) -> tuple[Columns, Rows]:
    """Return the columns of interactions by role, a row an interaction, and the rows that they are made of."""
    columns = {role: read_lists(column) if role in (ITEM_ID, TIMESTAMP) else column for role, column in columns.items()}
    lists = Lists(reader, rows, columns)
    if not is_list(columns[ITEM_ID].type):
        lists.refuse_any()
        return columns, rows
    flat, places, are_positions = lists.take_apart()
    places = places if rows.places is None else rows.places[places]
    return flat, replace(rows, places=places, are_positions=are_positions)


def join_texts(columns: Columns) -> Columns:
    """Return the columns of an item table with a title that is a list as one text."""
    title = columns.get(TITLE)
    if title is None or not is_list(title.type):
        return columns
    return {**columns, TITLE: pc.binary_join(title.cast(pa.list_(pa.string())), " ")}
