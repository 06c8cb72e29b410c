"""Records: an object a line, in JSON or as Python prints it, or a JSON array of objects."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.json as pa_json

from ur4rec.data.errors import DataError
from ur4rec.data.formats.literals import parse_literal
from ur4rec.data.formats.reader import Format, Reader, Rows, TextReader
from ur4rec.data.formats.streams import TextFile

BLOCK_BYTES = 1 << 24
LOOKED_AT = 1_000
"""Records that the columns and their types are known by."""

Record = Mapping[str, Any]


@dataclass(frozen=True)
class RecordReader(TextReader):
    """A file of records; columns have the types that their values have."""

    parse: Callable[[str], Any]
    """Makes an object of a line; raises ValueError on anything else."""

    @cached_property
    def num_lines(self) -> int:
        """Lines of the text, blank ones too; a file that does not decode to its end is refused."""
        return self.file.count()["\n"] + 1

    @property
    def names(self) -> Sequence[str]:
        """Keys of the first records, in the order in which they turn up."""
        return list(self._types)

    def read(self, names: Sequence[str]) -> Rows:
        """Read the values of these keys; what a record lacks is missing."""
        values: dict[str, list[Any]] = {name: [] for name in names}
        num_broken = 0
        for _, record in self._iterate():
            if record is None:
                num_broken += 1
                continue
            for name, column in values.items():
                column.append(record.get(name))
        return Rows(pa.table({name: _build_column(column) for name, column in values.items()}), num_broken)

    def locate(self, row: int) -> str:
        """Tell the 1-based line of a record."""
        lines = (line for line, record in self._iterate() if record is not None)
        return f"line {next(islice(lines, row, None), row + 1)}"

    def locate_ragged(self) -> str:
        """Tell the line of the first one that holds no record."""
        line = next((line for line, record in self._iterate() if record is None), 1)
        return f"line {line} (no object of {self.name})"

    @cached_property
    def _types(self) -> Mapping[str, pa.DataType]:
        assert self.num_lines
        first = [record for _, record in islice(self._iterate(), LOOKED_AT) if record is not None]
        if not first:
            raise DataError(f"{self.path}, {self.locate_ragged()}: expected {self.name}, an object a line")
        keys = dict.fromkeys(key for record in first for key in record)
        return {key: _build_column([record.get(key) for record in first]).type for key in keys}

    def _iterate(self) -> Iterator[tuple[int, Record | None]]:
        """Yield line and record of every line that is not blank; None where there is none in it."""
        with self.file.open_lines() as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, self._parse(line)

    def _parse(self, line: str) -> Record | None:
        try:
            record = self.parse(line)
        except (ValueError, RecursionError):
            return None
        return record if isinstance(record, dict) else None


class JsonReader(RecordReader):
    """JSON lines, read at once where the first records tell the types of all."""

    def read(self, names: Sequence[str]) -> Rows:
        """Read the values of these keys; what a record lacks is missing."""
        types = {name: self._types[name] for name in names}
        schema = pa.schema([(name, pa.string() if pa.types.is_null(kind) else kind) for name, kind in types.items()])
        try:
            with self.file.open() as stream:
                columns = pa_json.read_json(
                    stream,
                    pa_json.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
                    pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
                )
        except pa.ArrowException:  # other types than the first ones, a broken line, a number out of range
            return super().read(names)
        if columns.num_rows > self.num_lines:  # several objects in a line
            return super().read(names)
        return Rows(columns.select(list(names)))


class ArrayReader(RecordReader):
    """One JSON array of objects; rows go by their numbers."""

    def _iterate(self) -> Iterator[tuple[int, Record | None]]:
        for number, record in enumerate(self._objects, 1):
            yield number, record if isinstance(record, dict) else None

    @cached_property
    def _objects(self) -> list[Any]:
        with self.file.open_lines() as lines:
            try:
                objects: list[Any] = json.load(lines)
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"{self.path}: not readable as a JSON array ({error}); write one object a line"
                ) from None
        return objects

    def locate(self, row: int) -> str:
        """Tell the 1-based number of an object."""
        return super().locate(row).replace("line", "object")

    def locate_ragged(self) -> str:
        """Tell the number of the first entry that is no object."""
        return super().locate_ragged().replace("line", "entry")


def _build_column(values: Sequence[Any]) -> pa.Array:
    """Return values as a column; as text where they have several types, or one that has no column."""
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError, OverflowError):
        texts = (value if value is None or isinstance(value, str) else _write(value) for value in values)
        return pa.array(texts, pa.string())


def _write(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(value)


def _open_json(file: TextFile) -> Reader:
    return JsonReader(file, "JSON lines", json.loads)


def _open_literals(file: TextFile) -> Reader:
    return RecordReader(file, "lines of Python literals", parse_literal)


def _open_array(file: TextFile) -> Reader:
    return ArrayReader(file, "JSON array", json.loads)


JSON_LINES = Format("JSON lines", lambda file: bool(re.match(r'\s*\{\s*(["}]|$)', file.head)), _open_json)
LITERALS = Format(
    "lines of Python literals", lambda file: bool(re.match(r"\s*\{\s*[uU]?['\"]", file.head)), _open_literals
)
JSON_ARRAY = Format("JSON array", lambda file: bool(re.match(r"\s*\[\s*(\{|\]|$)", file.head)), _open_array)
