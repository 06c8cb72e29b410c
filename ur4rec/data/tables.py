"""CSV and Parquet files as columns; what is wrong with a file as a whole is found here."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ur4rec.data.csv_lines import NO_ROWS, check_encoding, iterate_records, locate_ragged, read_header
from ur4rec.data.errors import DataError

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
        """Where a row of `columns` stands in the file: its 1-based line, or for Parquet its 1-based row."""
        if self.path.suffix.lower() == PARQUET:
            return f"row {row + 1}"
        records = iterate_records(self.path, ragged=False)
        line, _, _ = next(islice(records, row, None), (row + 2, 0, 0))
        return f"line {line}"


def read_table(path: Path, required: Sequence[str], optional: Sequence[str]) -> Table:
    """Reads the `required` columns and those of the `optional` ones that are there.

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
