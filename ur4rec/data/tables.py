"""CSV and Parquet files as columns; what is wrong with a file as a whole is found here."""

from __future__ import annotations

import codecs
import csv
import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ur4rec.data.errors import DataError

CHUNK_BYTES = 1 << 20
MAX_FIELD_CHARACTERS = (1 << 31) - 1
NO_ROWS = "no rows below the column names; nothing to read"
MAGIC = {
    b"PAR1": "a Parquet file; name it .parquet",
    b"\x1f\x8b": "gzip-compressed; unpack it first",
    b"PK\x03\x04": "a zip archive; unpack it first",
    codecs.BOM_UTF16_LE: "UTF-16; convert it to UTF-8",
    codecs.BOM_UTF16_BE: "UTF-16; convert it to UTF-8",
}


def check_encoding(path: Path) -> None:
    """Refuse a file that is not UTF-8 text with a `DataError` of the line and the byte, or of what it is instead."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines = 1
    with path.open("rb") as file:
        chunk = file.read(CHUNK_BYTES)
        for magic, meaning in MAGIC.items():
            if chunk.startswith(magic):
                raise DataError(f"{path}: not a CSV file but {meaning}")
        while True:
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                line = lines + error.object[: error.start].count(b"\n")
                raise DataError(
                    f"{path}, line {line}: byte {error.object[error.start]:#04x} is not UTF-8; convert the file, "
                    f"for example: iconv -f LATIN1 -t UTF-8 {path.name} > utf8.csv"
                ) from None
            if not chunk:
                return
            lines += chunk.count(b"\n")
            chunk = file.read(CHUNK_BYTES)


def locate_ragged(path: Path) -> str:
    """Tell the line of the first row with too few or too many fields, and the two numbers."""
    line, found, expected = next(iterate_records(path, ragged=True), (1, 0, 0))
    return f"line {line} ({found} fields instead of {expected})"


def iterate_records(path: Path, ragged: bool) -> Iterator[tuple[int, int, int]]:
    """Yield first line, fields and expected fields of the rows below the header; blank ones do not count."""
    with _open_csv(path) as file:
        reader = csv.reader(file)
        expected = 0
        line = 1
        for record in reader:
            if record and expected and (len(record) != expected) == ragged:
                yield line, len(record), expected
            expected = expected or len(record)
            line = reader.line_num + 1


@contextmanager
def _open_csv(path: Path) -> Iterator[TextIO]:
    limit = csv.field_size_limit(MAX_FIELD_CHARACTERS)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    finally:
        csv.field_size_limit(limit)


def read_header(path: Path) -> list[str]:
    """Return the column names, in the first line that is not blank; a `DataError` tells that nothing is below them."""
    with _open_csv(path) as file:
        records = (record for record in csv.reader(file) if record)
        header: list[str] = next(records, [])
        if header and not next(records, None):
            raise DataError(f"{path}: {NO_ROWS}")
        return header


CSV, PARQUET = ".csv", ".parquet"
BLOCK_BYTES = 1 << 24
"""What pyarrow parses at once; no single row may be longer."""
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ":": "colons"}


@dataclass(frozen=True)
class Table:
    """The wanted columns of a file, as read."""

    path: Path
    columns: pa.Table
    """CSV: text throughout; Parquet: the types of the file."""
    num_ragged: int = 0
    """Rows with too few or too many fields, left out of `columns`."""

    @property
    def num_rows(self) -> int:
        """Rows of the file below the column names."""
        return int(self.columns.num_rows) + self.num_ragged

    def locate(self, row: int) -> str:
        """Tell where a row of `columns` stands in the file: its 1-based line, or for Parquet its 1-based row."""
        if self.path.suffix.lower() == PARQUET:
            return f"row {row + 1}"
        records = iterate_records(self.path, ragged=False)
        line, _, _ = next(islice(records, row, None), (row + 2, 0, 0))
        return f"line {line}"


def read_table(path: Path, required: Sequence[str], optional: Sequence[str]) -> Table:
    """Read the `required` columns and those of the `optional` ones that are there.

    Raises:
        DataError: The file is missing, empty, not UTF-8, not a table, or lacks a required column.
    """
    readers = {CSV: _read_csv, PARQUET: _read_parquet}
    if not path.is_file():
        raise DataError(f"{path}: not found; expected a .csv or .parquet file")
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: unknown kind of file {path.suffix!r}; expected .csv or .parquet")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: empty file; expected the columns {', '.join(required)}")
    table = readers[path.suffix.lower()](path, required, optional)
    if table.num_rows == 0:
        raise DataError(f"{path}: {NO_ROWS}")
    return table


def _read_csv(path: Path, required: Sequence[str], optional: Sequence[str]) -> Table:
    check_encoding(path)
    names = _select_columns(path, read_header(path), required, optional)
    spans_lines: list[bool] = []

    def note_ragged(row: pa_csv.InvalidRow) -> str:
        spans_lines.append("\n" in row.text)
        return "skip"

    try:
        columns = pa_csv.read_csv(
            path,
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note_ragged),
            convert_options=pa_csv.ConvertOptions(
                include_columns=names, column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowException as error:
        raise DataError(f"{path}: not readable as CSV ({error}); is a quote left open?") from None
    if any(spans_lines):
        raise DataError(f"{path}, {locate_ragged(path)}: a quote is opened and never closed; double or drop it")
    return Table(path, columns, len(spans_lines))


def _read_parquet(path: Path, required: Sequence[str], optional: Sequence[str]) -> Table:
    try:
        with pq.ParquetFile(path) as file:
            names = _select_columns(path, file.schema_arrow.names, required, optional)
            columns = file.read(columns=names)
        columns.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not readable as Parquet ({error}); write it again") from None
    return Table(path, columns)


def _select_columns(path: Path, found: Sequence[str], required: Sequence[str], optional: Sequence[str]) -> list[str]:
    missing = [name for name in required if name not in found]
    if missing:
        raise DataError(f"{path}, first line: " + _explain_missing(missing, found, required))
    names = [name for name in (*required, *optional) if name in found]
    doubled = [name for name in names if list(found).count(name) > 1]
    if doubled:
        raise DataError(f"{path}: column {doubled[0]!r} occurs more than once; keep one of them")
    return names


def _explain_missing(missing: list[str], found: Sequence[str], required: Sequence[str]) -> str:
    for separator, name in SEPARATORS.items():
        if len(found) == 1 and found[0].count(separator) >= len(required) - 1 > 0:
            return f"the fields are separated by {name}; expected commas ({','.join(required)})"
    spelling = {name.strip().lower(): name for name in found if name not in required}
    nearest = difflib.get_close_matches(missing[0], spelling, n=1, cutoff=0.4)
    hint = f"is it {spelling[nearest[0]]!r}? Rename that column" if nearest else "the file must name its columns"
    return f"no column {', '.join(map(repr, missing))} among {', '.join(map(repr, found))}; {hint}"
