"""A file of any known format as a table with the project's own column names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from ur4rec.data.column_names import match_columns
from ur4rec.data.errors import DataError
from ur4rec.data.formats.delimited import NO_ROWS
from ur4rec.data.formats.reader import Reader
from ur4rec.data.formats.table_of_formats import open_file


@dataclass(frozen=True)
class ReadOptions:
    """What a user says of a file, because it does not say so itself."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Role, such as `user_id`, → column of the file."""
    encoding: str | None = None
    """Encoding of a text; None: UTF-8, or what a byte order mark names."""


AS_IT_IS = ReadOptions()


@dataclass(frozen=True)
class Table:
    """The wanted columns of a file, as read, under the names of their roles."""

    path: Path
    columns: pa.Table
    """Texts hold text throughout; others have the types of the file."""
    num_ragged: int = 0
    """Rows with too few or too many fields, left out of `columns`."""
    read_as: str = ""
    """The format in words."""
    used: Mapping[str, str] = field(default_factory=dict)
    """Role → column of the file."""
    unused: tuple[str, ...] = ()
    """Columns of the file that play no role."""
    reader: Reader | None = None

    @property
    def num_rows(self) -> int:
        """Rows of the file below the column names."""
        return int(self.columns.num_rows) + self.num_ragged

    def locate(self, row: int) -> str:
        """Tell where a row of `columns` stands in the file: its 1-based line, or its row where there are no lines."""
        return self.reader.locate(row) if self.reader else f"row {row + 1}"

    def locate_ragged(self) -> str:
        """Tell where the first row with too few or too many fields stands, and the two numbers."""
        return self.reader.locate_ragged() if self.reader else ""


def describe(table: Table) -> dict[str, Any]:
    """Tell how a file was understood, for the manifest."""
    return {"read_as": table.read_as, "columns": dict(table.used), "unused": list(table.unused)}


def read_table(path: Path, required: Sequence[str], optional: Sequence[str], options: ReadOptions = AS_IT_IS) -> Table:
    """Read the columns of the `required` roles and of those of the `optional` ones that have a column.

    Raises:
        DataError: The file is missing, empty, in an unknown encoding, not a table, or lacks a required column.
    """
    reader = open_file(path, required, options.encoding)
    used = _match(path, reader.names, required, optional, options)
    rows = reader.read(list(dict.fromkeys(used.values())))
    table = Table(
        path,
        columns=rows.columns.select(list(used.values())).rename_columns(list(used)),
        num_ragged=rows.num_ragged,
        read_as=reader.read_as,
        used=used,
        unused=tuple(name for name in reader.names if name not in used.values()),
        reader=reader,
    )
    if table.num_rows == 0:
        raise DataError(f"{path}: {NO_ROWS}")
    return table


def _match(
    path: Path, found: Sequence[str], required: Sequence[str], optional: Sequence[str], options: ReadOptions
) -> Mapping[str, str]:
    try:
        used = match_columns(found, required, optional, options.columns)
    except DataError as error:
        raise DataError(f"{path}, first line: {error}") from None
    doubled = [name for name, count in Counter(found).items() if count > 1 and name in used.values()]
    if doubled:
        raise DataError(f"{path}: column {doubled[0]!r} occurs more than once; keep one of them")
    return used
