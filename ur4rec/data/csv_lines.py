"""CSV files as lines: their encoding, their column names, and where a row stands."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

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
    """Refuses a file that is not UTF-8 text.

    Raises:
        DataError: Names the line and the byte, or what the file is instead.
    """
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
    """Line of the first row with too few or too many fields, and the two numbers."""
    line, found, expected = next(iterate_records(path, ragged=True), (1, 0, 0))
    return f"line {line} ({found} fields instead of {expected})"


def iterate_records(path: Path, ragged: bool) -> Iterator[tuple[int, int, int]]:
    """First line, number of fields, and expected number, of the rows below the header; blank ones do not count."""
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
    """The column names, in the first line that is not blank.

    Raises:
        DataError: Nothing stands below them.
    """
    with _open_csv(path) as file:
        records = (record for record in csv.reader(file) if record)
        header: list[str] = next(records, [])
        if header and not next(records, None):
            raise DataError(f"{path}: {NO_ROWS}")
        return header
