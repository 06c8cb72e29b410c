"""A folder of parts as one table: `part-*` of Spark, folders `key=value` of Hive, any files with the same columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from ur4rec.data.errors import DataError, EmptyFileError
from ur4rec.data.formats.reader import Reader, Rows

IGNORED = ("_", ".")
"""What files that hold no rows begin with: `_SUCCESS`, `.part-0.crc`."""
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
DELTA_LOG = "_delta_log"
PART_SHIFT = 40
"""A place is the number of a part, and in its lower bits a place in that part."""


@dataclass(frozen=True)
class PartsReader:
    """Parts in the order of their names."""

    path: Path
    parts: tuple[Reader, ...]

    @property
    def read_as(self) -> str:
        """The format in words."""
        kinds = dict.fromkeys(part.read_as for part in self.parts)
        return f"{len(self.parts):,} part{'s' * (len(self.parts) > 1)} of {', '.join(kinds)}"

    @cached_property
    def names(self) -> Sequence[str]:
        """Names of the columns of every part, and the keys of their folders."""
        first, *others = self.parts
        for part in others:
            if set(part.names) != set(first.names) or self._keys(part).keys() != self._keys(first).keys():
                raise DataError(
                    f"{self.path}: holds files with different columns, {self._name(first)} ({', '.join(first.names)}) "
                    f"and {self._name(part)} ({', '.join(part.names)}); name the file to read"
                )
        return [*first.names, *(key for key in self._keys(first) if key not in first.names)]

    def read(self, names: Sequence[str]) -> Rows:
        """Read the columns of these names out of every part."""
        read = [part.read([name for name in names if name in part.names]) for part in self.parts]
        if len(read) > 1 and any(rows.are_positions for rows in read):
            raise DataError(f"{self.path}: holds several texts without times; name the one to read")
        tables = [self._add_keys(part, rows.columns, names) for part, rows in zip(self.parts, read, strict=True)]
        places = [np.arange(rows.columns.num_rows) if rows.places is None else rows.places for rows in read]
        try:
            columns = pa.concat_tables(tables, promote_options="permissive")
        except pa.ArrowException as error:
            raise DataError(f"{self.path}: parts have columns of different types ({error})") from None
        return Rows(
            columns,
            num_ragged=sum(rows.num_ragged for rows in read),
            places=np.concatenate([(number << PART_SHIFT) + place for number, place in enumerate(places)]),
            are_positions=any(rows.are_positions for rows in read),
        )

    def locate(self, row: int) -> str:
        """Tell the part and where a row stands in it."""
        part = self.parts[row >> PART_SHIFT]
        return f"{self._name(part)}, {part.locate(row & ((1 << PART_SHIFT) - 1))}"

    def locate_ragged(self) -> str:
        """Tell the first part with a row with too few or too many fields, and where it stands."""
        part = next(part for part in self.parts if part.read(part.names[:1]).num_ragged)
        return f"{self._name(part)}, {part.locate_ragged()}"

    def _name(self, part: Reader) -> str:
        return part.path.relative_to(self.path).as_posix()

    def _keys(self, part: Reader) -> Mapping[str, str]:
        folders = part.path.relative_to(self.path).parent.parts
        pairs = (folder.split("=", 1) for folder in folders if "=" in folder)
        return {key: "" if value == NO_VALUE else unquote(value) for key, value in pairs}

    def _add_keys(self, part: Reader, columns: pa.Table, names: Sequence[str]) -> pa.Table:
        for key, value in self._keys(part).items():
            if key in names and key not in part.names:
                columns = columns.append_column(key, pa.repeat(pa.scalar(value), columns.num_rows))
        return columns.select(list(names))


def list_parts(folder: Path) -> list[Path]:
    """Return the files below a folder that may hold rows, in the order of their names."""
    inside = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    return sorted(folder / path for path in inside if not any(name.startswith(IGNORED) for name in path.parts))


def open_parts(folder: Path, open_part: Callable[[Path], Reader]) -> PartsReader:
    """Open the parts of a folder; empty ones are left out.

    Raises:
        DataError: There is no part, or one of no known kind.
    """
    if (folder / DELTA_LOG).is_dir():
        raise DataError(f"{folder}: a Delta table, whose log says which files count; write it as plain Parquet")

    def open_all() -> Iterator[Reader]:
        for path in list_parts(folder):
            try:
                yield open_part(path)
            except EmptyFileError:
                continue

    if not (parts := tuple(open_all())):
        raise DataError(f"{folder}: holds no file with rows")
    return PartsReader(folder, parts)
