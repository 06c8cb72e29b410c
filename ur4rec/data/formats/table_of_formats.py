"""The one table of formats: the first that recognises a file reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ur4rec.data.errors import DataError
from ur4rec.data.formats.atomic import ATOMIC
from ur4rec.data.formats.delimited import DELIMITED
from ur4rec.data.formats.parquet import PARQUET
from ur4rec.data.formats.reader import Reader
from ur4rec.data.formats.streams import UTF_8, TextFile

FORMATS = (PARQUET, ATOMIC, DELIMITED)
"""Those that are recognised by more come first; the last one takes whatever is left."""
EXPECTED = f"expected {', '.join(format.name for format in FORMATS)}"
PICKLED = "old pickled sequences come in by ur4rec data import-legacy"
OTHER_SUFFIXES = {
    **dict.fromkeys((".pkl", ".pickle", ".npy", ".npz"), PICKLED),
    **dict.fromkeys((".xls", ".xlsx", ".ods"), "save the sheet as CSV"),
    **dict.fromkeys((".arrow", ".avro", ".db", ".feather", ".h5", ".mat", ".orc", ".sqlite"), EXPECTED),
}
ARCHIVES = {b"PK\x03\x04": "a zip archive", b"7z\xbc\xaf\x27\x1c": "a 7z archive", b"Rar!": "a rar archive"}
TAR_MAGIC = slice(257, 262)
SEEN_BYTES = 1_000


def open_file(path: Path, wanted: Sequence[str], encoding: str | None = None) -> Reader:
    """Open a file by the first format that recognises it.

    Args:
        path: The file.
        wanted: Columns that an error asks for.
        encoding: Of a text that is not UTF-8.

    Raises:
        DataError: The file is missing, empty, damaged or of no known kind.
    """
    if not path.is_file():
        raise DataError(f"{path}: not found; expected a file of interactions or items")
    suffix = path.suffix.lower()
    if suffix in OTHER_SUFFIXES:
        raise DataError(f"{path}: unknown kind of file {suffix!r}; {OTHER_SUFFIXES[suffix]}")
    file = TextFile(path, encoding)
    if archive := _name_archive(file.start):
        raise DataError(f"{path}: {archive}; unpack it first")
    if not file.start:
        raise DataError(f"{path}: empty file; expected the columns {', '.join(wanted)}")
    if b"\0" in file.start[:SEEN_BYTES] and file.encoding in UTF_8 and not PARQUET.recognise(file):
        raise DataError(f"{path}: holds zero bytes; if it is UTF-16 without a byte order mark: --encoding utf-16-le")
    return next(known for known in FORMATS if known.recognise(file)).open(file)


def _name_archive(start: bytes) -> str | None:
    if start[TAR_MAGIC] == b"ustar":
        return "a tar archive"
    return next((name for magic, name in ARCHIVES.items() if start.startswith(magic)), None)
