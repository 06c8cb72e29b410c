"""The one table of formats, and files that no format reads."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from formats import CSV, ROWS, read

from ur4rec.data.errors import DataError
from ur4rec.data.formats.table_of_formats import FORMATS
from ur4rec.data.tables import Table, read_table

REQUIRED = ("user_id", "item_id", "timestamp")


def write_zip(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def read_zip(path: Path, **files: str) -> Table:
    return read_table(write_zip(path, **files), REQUIRED, ())


def test_names_of_formats_are_their_own() -> None:
    assert len({known.name for known in FORMATS}) == len(FORMATS)
    assert FORMATS[-1].name == "CSV with any separator"


@pytest.mark.parametrize("name", ["plays.zip", "plays.csv"])
def test_a_zip_archive_of_one_file_is_read(name: str, tmp_path: Path) -> None:
    table = read_zip(tmp_path / name, **{"data/plays.csv": CSV, "__MACOSX/data/._plays.csv": "x"})
    assert table.columns.select(list(ROWS)).to_pydict() == ROWS
    assert table.read_as == "zip-compressed CSV"
    assert table.locate(2) == "line 4"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.csv": CSV, "b.csv": CSV}, r"a zip archive of 2 files; unpack it, then name one of them"),
        ({"data/": ""}, r"a zip archive of 0 files"),
        ({"../plays.csv": CSV}, r"points outside the archive; refused"),
    ],
    ids=["two", "none", "outside"],
)
def test_other_zip_archives_are_refused(files: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_zip(tmp_path / "plays.zip", **files)


def test_a_damaged_zip_archive(tmp_path: Path) -> None:
    content = bytearray(write_zip(tmp_path / "a.zip", **{"plays.csv": CSV * 50}).read_bytes())
    content[60:90] = bytes(30)
    with pytest.raises(DataError, match=r"plays\.zip: (zip-compressed, and damaged|not a readable zip archive)"):
        read(tmp_path / "plays.zip", bytes(content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"7z\xbc\xaf\x27\x1crest", "a 7z archive; unpack it first"),
        (b"Rar!rest", "a rar archive; unpack it first"),
        (b"<!DOCTYPE html>\n<html></html>\n", "first line: no column 'user_id', 'item_id', 'timestamp'"),
        (b"\x89HDF\r\n\x1a\n\0\0", "holds zero bytes"),
    ],
    ids=["7z", "rar", "page", "binary"],
)
def test_what_is_no_table(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"plays\.csv.*{message}"):
        read(tmp_path / "plays.csv", content)
