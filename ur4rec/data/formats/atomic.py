"""RecBole's atomic files: tabs, and a type behind the name of each column, as in `user_id:token`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from ur4rec.data.formats.delimited import DelimitedReader, Dialect
from ur4rec.data.formats.reader import Format, Rows
from ur4rec.data.formats.streams import TextFile

TYPED = re.compile(
    r"[^\t\n]+:(token|token_seq|float|float_seq)(\t[^\t\n]+:(token|token_seq|float|float_seq))*\r?(\n|$)"
)
SEQUENCE = "_seq"


@dataclass(frozen=True)
class AtomicReader:
    """An atomic file; its columns go by their names without the types."""

    file: TextFile
    rows: DelimitedReader = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", DelimitedReader(self.file, "RecBole atomic file", Dialect("\t", quoted=False)))

    @property
    def read_as(self) -> str:
        """The format in words."""
        return self.rows.read_as

    @cached_property
    def names(self) -> Sequence[str]:
        """Names of the columns, without their types."""
        return [name.rpartition(":")[0] for name in self.rows.names]

    def read(self, names: Sequence[str]) -> Rows:
        """Read the columns of these names; sequences become lists of text."""
        typed = [self.rows.names[self.names.index(name)] for name in names]
        read = self.rows.read(typed)
        columns = {name: _split(read.columns[kind], kind) for name, kind in zip(names, typed, strict=True)}
        return Rows(pa.table(columns), read.num_ragged)

    def locate(self, row: int) -> str:
        """Tell the line of a row."""
        return self.rows.locate(row)

    def locate_ragged(self) -> str:
        """Tell the line of the first row with too few or too many fields, and the two numbers."""
        return self.rows.locate_ragged()


def _split(column: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    return pc.utf8_split_whitespace(pc.utf8_trim_whitespace(column)) if kind.endswith(SEQUENCE) else column


ATOMIC = Format("RecBole atomic file", lambda file: bool(TYPED.match(file.head.lstrip("\r\n"))), AtomicReader)
