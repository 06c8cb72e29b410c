"""Parquet files; columns have the types of the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ur4rec.data.errors import DataError
from ur4rec.data.formats.reader import Format, Rows
from ur4rec.data.formats.streams import TextFile

SUFFIX = ".parquet"
MAGIC = b"PAR1"


@dataclass(frozen=True)
class ParquetReader:
    """A Parquet file."""

    file: TextFile
    read_as = "Parquet"

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.file.path

    def __post_init__(self) -> None:
        if self.file.compression:
            raise DataError(f"{self.path}: Parquet that is {self.file.compression}-compressed; unpack it first")

    @cached_property
    def names(self) -> Sequence[str]:
        """Names of the columns."""
        with self._open() as file:
            names: list[str] = file.schema_arrow.names
        return names

    def read(self, names: Sequence[str]) -> Rows:
        """Read the columns of these names."""
        with self._open() as file:
            columns = file.read(columns=list(names))
            columns.validate(full=True)
        return Rows(columns)

    def locate(self, row: int) -> str:
        """Tell the 1-based number of a row."""
        return f"row {row + 1}"

    def locate_ragged(self) -> str:
        """No row of this format has fields of its own number."""
        raise AssertionError

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        try:
            with pq.ParquetFile(self.file.path) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.path}: not readable as Parquet ({error}); write it again") from None


def _is_parquet(file: TextFile) -> bool:
    return file.start.startswith(MAGIC) or file.path.suffix.lower() == SUFFIX


PARQUET = Format("Parquet", _is_parquet, ParquetReader)
