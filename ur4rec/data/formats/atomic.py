"""RecBole's atomic files: tabs, and a type behind the name of each column, as in `user_id:token`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from ur4rec.data.formats.delimited import DelimitedReader, Dialect
from ur4rec.data.formats.reader import DerivedReader, Format, Rows
from ur4rec.data.formats.streams import TextFile

TYPED_NAME = r"[^\t\n]+:(token|float)(_seq)?"
TYPED_LINE = re.compile(rf"\s*{TYPED_NAME}(\t{TYPED_NAME})*\r?(\n|$)")
SEQUENCE = "_seq"
TEXTS = ("title", "name", "description")
"""Sequences of words that are one text, where a column's name ends in one of these."""
ITEM, ITEMS_BEFORE = "item_id", "item_id_list"
"""Columns of a session: the last item, and those before it."""


class AtomicReader(DerivedReader):
    """An atomic file; its columns go by their names without the types."""

    @cached_property
    def _types(self) -> Mapping[str, str]:
        return dict(name.rpartition(":")[::2] for name in self.rows.names)

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns."""
        names = [name.rpartition(":")[0] for name in self.rows.names]
        return [name for name in names if not (name == ITEMS_BEFORE and ITEM in names)]

    def read(self, names: Sequence[str]) -> Rows:
        """Read the columns of these names; sequences become lists, those of a session's items with its last one."""
        is_session = ITEM in names and ITEMS_BEFORE in self._types
        wanted = [*names, *((ITEMS_BEFORE,) if is_session else ())]
        read = self.rows.read([f"{name}:{self._types[name]}" for name in wanted])
        columns = {name: read.columns[f"{name}:{self._types[name]}"] for name in wanted}
        if is_session:
            columns[ITEM] = pc.binary_join_element_wise(columns.pop(ITEMS_BEFORE), columns[ITEM], " ")
        lists = {name for name in columns if self._is_list(name)} | ({ITEM} if is_session else set())
        return Rows(pa.table({n: _split(c) if n in lists else c for n, c in columns.items()}), read.num_ragged)

    def _is_list(self, name: str) -> bool:
        return self._types[name].endswith(SEQUENCE) and not name.endswith(TEXTS)


def _split(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_split_whitespace(pc.utf8_trim_whitespace(column))


def open_atomic(file: TextFile) -> AtomicReader:
    """Open an atomic file."""
    return AtomicReader(DelimitedReader(file, "RecBole atomic file", Dialect("\t", quoted=False)))


ATOMIC = Format("RecBole atomic file", lambda file: bool(TYPED_LINE.match(file.head)), open_atomic)
