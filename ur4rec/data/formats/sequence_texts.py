"""Texts of whole numbers without times: `user item item …` or `user item` a line; positions stand in for times."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool

from ur4rec.columns import ITEM_ID, TIMESTAMP, USER_ID
from ur4rec.data.errors import DataError
from ur4rec.data.formats.delimited import open_lines
from ur4rec.data.formats.reader import DerivedReader, Format, Reader, Rows
from ur4rec.data.formats.streams import HEAD_BYTES, TextFile

LIST = r"^\d+([ \t]\d+)*[ \t]*\r?$"
PAIR = r"^\d+[ \t]\d+[ \t]*\r?$"
BLANK = r"^\s*$"
LOOKED_AT = 1_000
"""Lines that a file is recognised by."""
NEARLY_ALL = 0.9
LONGEST_ROW = 4
EARLIEST_TIME = 10**8
"""A number of at least so much, beside a user, an item and perhaps a rating, is a time."""


class NumberLinesReader(DerivedReader):
    """Lines of numbers; those that hold anything else are counted."""

    names = (USER_ID, ITEM_ID, TIMESTAMP)
    pattern = LIST

    def locate_ragged(self) -> str:
        """Tell the first line that is none of numbers."""
        _, is_bad = self._read_lines()
        return f"{self.locate(int(is_bad.argmax()))} (not a user and items, as whole numbers between single blanks)"

    def _read_lines(self) -> tuple[pa.StringArray, Bool[np.ndarray, "L"]]:
        """Return all lines that are not empty, and which of them are neither of numbers nor blank."""
        lines = self.rows.read(self.rows.names).columns[0].combine_chunks()
        is_fine = pc.or_(pc.match_substring_regex(lines, self.pattern), pc.match_substring_regex(lines, BLANK))
        return lines, ~is_fine.to_numpy(zero_copy_only=False)


class SequenceReader(NumberLinesReader):
    """Lines of a user and the user's items, oldest first."""

    def read(self, names: Sequence[str]) -> Rows:
        """Read the columns of these names, a row an item."""
        lines, is_bad = self._read_lines()
        words = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(pc.if_else(pa.array(is_bad), "", lines)))
        offsets, numbers = words.offsets.to_numpy(), words.values
        line_of = pc.list_parent_indices(words).to_numpy()
        position = np.arange(len(line_of)) - offsets[line_of] - 1
        users = numbers.take(pa.array(offsets[:-1]))
        is_used = numbers.to_numpy(zero_copy_only=False) != ""
        self._refuse_repeated(numbers.filter(pa.array(is_used & (position < 0))), line_of[is_used & (position < 0)])
        is_item = is_used & (position >= 0)
        line_of, position = line_of[is_item], position[is_item]
        columns = (users.take(pa.array(line_of)), numbers.filter(pa.array(is_item)), pa.array(position))
        table = pa.table(dict(zip(self.names, columns, strict=True)))
        return Rows(table.select(list(names)), int(is_bad.sum()), places=line_of, are_positions=True)

    def _refuse_repeated(self, users: pa.StringArray, line_of: np.ndarray) -> None:
        repeated = pd.Series(users.to_numpy(zero_copy_only=False)).duplicated()
        if repeated.any():
            first = int(repeated.to_numpy().argmax())
            raise DataError(
                f"{self.path}, {self.locate(int(line_of[first]))}: a second line of user {users[first].as_py()!r} in a "
                "text of a user and the user's items a line; if the lines are interactions, say what stands where: "
                "--set columns=user_id=1,item_id=2,timestamp=3"
            )


class PairReader(NumberLinesReader):
    """Lines of a user and an item, each user's oldest first."""

    pattern = PAIR

    def read(self, names: Sequence[str]) -> Rows:
        """Read the columns of these names; times are counted within each user."""
        lines, is_bad = self._read_lines()
        found = pc.extract_regex(lines, rf"^(?P<{USER_ID}>\d+)[ \t](?P<{ITEM_ID}>\d+)[ \t]*\r?$")
        places = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False))
        users, items = (pc.struct_field(found, name).take(pa.array(places)) for name in (USER_ID, ITEM_ID))
        position = pd.Series(users.to_numpy(zero_copy_only=False)).to_frame().groupby(0, sort=False).cumcount()
        table = pa.table({USER_ID: users, ITEM_ID: items, TIMESTAMP: pa.array(position.to_numpy())})
        return Rows(table.select(list(names)), int(is_bad.sum()), places=places, are_positions=True)


def _read_numbers(file: TextFile) -> list[list[str]]:
    """Return the numbers of the first lines; nothing where too many of them hold anything else."""
    lines = [line for line in file.head.split("\n") if line.strip()]
    if len(file.start) >= HEAD_BYTES and len(lines) > 1:
        lines.pop()  # cut off
    rows = [line.split() for line in lines[:LOOKED_AT] if re.match(LIST, line)]
    return rows if len(rows) >= NEARLY_ALL * len(lines[:LOOKED_AT]) else []


def _is_pairs(rows: Sequence[Sequence[str]]) -> bool:
    return bool(rows) and sum(len(row) == 2 for row in rows) >= NEARLY_ALL * len(rows)


def _is_lists(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether rows begin with different numbers and are no interactions with their times."""
    if not rows or len({row[0] for row in rows}) < NEARLY_ALL * len(rows) or max(map(len, rows)) < 2:
        return False
    is_table = len({len(row) for row in rows}) == 1 and len(rows[0]) <= LONGEST_ROW
    return not (is_table and any(min(map(int, column)) >= EARLIEST_TIME for column in zip(*rows, strict=True)))


def _is_sequences(file: TextFile) -> bool:
    rows = [] if file.by_position else _read_numbers(file)
    return _is_pairs(rows) or _is_lists(rows)


def _open_sequences(file: TextFile) -> Reader:
    if _is_pairs(_read_numbers(file)):
        return PairReader(open_lines(file, "text of a user and an item a line, in their order"))
    return SequenceReader(open_lines(file, "text of a user and the user's items a line"))


SEQUENCES = Format("text of a user and items a line", _is_sequences, _open_sequences)
