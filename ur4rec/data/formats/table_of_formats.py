"""The one table of formats: the first that recognises a file reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ur4rec.data.errors import DataError, EmptyFileError
from ur4rec.data.formats.atomic import ATOMIC
from ur4rec.data.formats.delimited import DELIMITED
from ur4rec.data.formats.films import ATOMIC_FILMS, FILMS
from ur4rec.data.formats.impressions import IMPRESSIONS
from ur4rec.data.formats.known_layouts import KNOWN_LAYOUT
from ur4rec.data.formats.netflix import NETFLIX
from ur4rec.data.formats.parquet import PARQUET
from ur4rec.data.formats.parts import open_parts
from ur4rec.data.formats.reader import Reader
from ur4rec.data.formats.records import JSON_ARRAY, JSON_LINES, LITERALS
from ur4rec.data.formats.sequence_texts import SEQUENCES
from ur4rec.data.formats.streams import TextFile

FORMATS = (
    PARQUET,
    ATOMIC_FILMS,
    ATOMIC,
    JSON_LINES,
    LITERALS,
    JSON_ARRAY,
    NETFLIX,
    IMPRESSIONS,
    KNOWN_LAYOUT,
    SEQUENCES,
    FILMS,
    DELIMITED,
)
"""Those that are recognised by more come first; the last one takes whatever is left."""
EXPECTED = f"expected {', '.join(format.name for format in FORMATS)}"
PICKLED = "old pickled sequences come in by ur4rec data import-legacy"
OTHER_SUFFIXES = {
    **dict.fromkeys((".pkl", ".pickle", ".npy", ".npz"), PICKLED),
    **dict.fromkeys((".xls", ".xlsx", ".ods"), "save the sheet as CSV"),
    **dict.fromkeys((".arrow", ".avro", ".db", ".feather", ".h5", ".mat", ".orc", ".sqlite"), EXPECTED),
}
ARCHIVES = {b"7z\xbc\xaf\x27\x1c": "a 7z archive", b"Rar!": "a rar archive"}
TAR_MAGIC = slice(257, 262)
SEEN_BYTES = 1_000


def open_table(path: Path, wanted: Sequence[str], encoding: str | None = None, by_position: bool = False) -> Reader:
    """Open a file by the first format that recognises it, or a folder of such files as one.

    Args:
        path: The file or folder.
        wanted: Columns that an error asks for.
        encoding: Of a text that is not UTF-8.
        by_position: Whether the user names columns by their positions.

    Raises:
        DataError: The file is missing, empty, damaged or of no known kind.
    """
    if path.is_dir():
        return open_parts(path, lambda part: open_table(part, wanted, encoding, by_position))
    if not path.is_file():
        raise DataError(f"{path}: not found; expected a file of interactions or items")
    suffix = path.suffix.lower()
    if suffix in OTHER_SUFFIXES:
        raise DataError(f"{path}: unknown kind of file {suffix!r}; {OTHER_SUFFIXES[suffix]}")
    file = TextFile(path, encoding, by_position)
    if archive := _name_archive(file.start):
        raise DataError(f"{path}: {archive}; unpack it first")
    if not file.start:
        raise EmptyFileError(f"{path}: empty file; expected the columns {', '.join(wanted)}")
    if b"\0" in file.start[:SEEN_BYTES] and file.is_utf_8 and not PARQUET.recognise(file):
        raise DataError(
            f"{path}: holds zero bytes; if it is UTF-16 without a byte order mark: --set encoding=utf-16-le"
        )
    return next(known for known in FORMATS if known.recognise(file)).open(file)


def _name_archive(start: bytes) -> str | None:
    if start[TAR_MAGIC] == b"ustar":
        return "a tar archive"
    return next((name for magic, name in ARCHIVES.items() if start.startswith(magic)), None)
