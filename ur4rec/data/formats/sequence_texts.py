"""Texts of whole numbers without times: `user item item …` or `user item` a line; positions stand in for times."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ur4rec.columns import ITEM_ID, TIMESTAMP, USER_ID
from ur4rec.data.errors import DataError
from ur4rec.data.formats.delimited import DelimitedReader, Dialect, open_lines
from ur4rec.data.formats.reader import DerivedReader, Format, Reader, Rows
from ur4rec.data.formats.streams import HEAD_BYTES, TextFile

NUMBERS = re.compile(r"\d+([ \t]+\d+)*[ \t]*\r?")
LOOKED_AT = 1_000
"""Lines that a file is recognised by."""
PAIR, LONGEST_ROW = 2, 4
EARLIEST_TIME = 10**8
"""A last number of at least so much, behind a user, an item and perhaps a rating, is a time."""


class SequenceReader(DerivedReader):
    """Lines of a user and the user's items, oldest first."""

    names = (USER_ID, ITEM_ID, TIMESTAMP)

    def read(self, names: Sequence[str]) -> Rows:
        """Read the columns of these names, a row an item."""
        lines = self.rows.read(self.rows.names).columns[0]
        words = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(lines)).combine_chunks()
        offsets, numbers = words.offsets.to_numpy(), words.values
        users = numbers.take(pa.array(offsets[:-1]))
        self._refuse_repeated(users)
        line_of = pc.list_parent_indices(words).to_numpy()
        position = np.arange(len(line_of)) - offsets[line_of] - 1
        is_item = position >= 0
        line_of, position = line_of[is_item], position[is_item]
        columns = (users.take(pa.array(line_of)), numbers.filter(pa.array(is_item)), pa.array(position))
        table = pa.table(dict(zip(self.names, columns, strict=True)))
        return Rows(table.select(list(names)), places=line_of, are_positions=True)

    def _refuse_repeated(self, users: pa.StringArray) -> None:
        repeated = pd.Series(users.to_numpy(zero_copy_only=False)).duplicated()
        if repeated.any():
            line = int(repeated.to_numpy().argmax())
            raise DataError(
                f"{self.rows.path}, {self.locate(line)}: a second line of user {users[line].as_py()!r} in a text of "
                "a user and the user's items a line; if the lines are interactions, say what stands where: "
                "--columns user_id=1,item_id=2,timestamp=3"
            )


class PairReader(DerivedReader):
    """Lines of a user and an item, each user's oldest first."""

    names = (USER_ID, ITEM_ID, TIMESTAMP)

    def read(self, names: Sequence[str]) -> Rows:
        """Read the columns of these names; times are counted within each user."""
        read = self.rows.read((USER_ID, ITEM_ID))
        users = read.columns[USER_ID].to_pandas()
        position = pa.array(users.groupby(users, sort=False).cumcount().to_numpy())
        table = read.columns.append_column(TIMESTAMP, position)
        return Rows(table.select(list(names)), read.num_ragged, are_positions=True)


def _read_numbers(file: TextFile) -> list[list[str]] | None:
    """Return the numbers of the first lines; None where there is anything else in them."""
    lines = [line for line in file.head.split("\n") if line.strip()]
    if len(file.start) >= HEAD_BYTES and len(lines) > 1:
        lines.pop()  # cut off
    lines = lines[:LOOKED_AT]
    return [line.split() for line in lines] if all(map(NUMBERS.fullmatch, lines)) else None


def _is_sequences(file: TextFile) -> bool:
    rows = None if file.by_position else _read_numbers(file)
    if not rows or max(map(len, rows)) < PAIR:
        return False
    if max(map(len, rows)) == PAIR or len({len(row) for row in rows}) > 1:
        return len({row[0] for row in rows}) == len(rows) or max(map(len, rows)) == PAIR
    looks_timed = len(rows[0]) <= LONGEST_ROW and all(int(row[-1]) >= EARLIEST_TIME for row in rows)
    return len({row[0] for row in rows}) == len(rows) and not looks_timed


def _open_sequences(file: TextFile) -> Reader:
    rows = _read_numbers(file) or []
    if max(map(len, rows)) == PAIR:
        separator = "\t" if "\t" in file.head else " "
        dialect = Dialect(separator, quoted=False, names=(USER_ID, ITEM_ID))
        return PairReader(DelimitedReader(file, "text of a user and an item a line, in their order", dialect))
    return SequenceReader(open_lines(file, "text of a user and the user's items a line"))


SEQUENCES = Format("text of a user and items a line", _is_sequences, _open_sequences)
