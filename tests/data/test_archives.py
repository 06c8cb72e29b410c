"""Archives that are broken or made to do harm."""

from __future__ import annotations

import gzip
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from ur4rec.data import archives
from ur4rec.data.archives import find_source
from ur4rec.data.errors import SourceError

LAYOUTS = (("u.data", "u.item"), ("ml-100k.inter",))


def read_source(source: Path, layouts: Sequence[Sequence[str]]) -> dict[str, bytes]:
    return {name: file.read() for name, file in find_source(source, layouts).items()}


def write_zip(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_files_are_found_in_folders_of_an_archive(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", **{"ml/": b"", "ml/u.data": b"1", "ml/u.item": b"2", "ml/README": b"3"})
    assert read_source(path, LAYOUTS) == {"u.data": b"1", "u.item": b"2"}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.zip"]


@pytest.mark.parametrize("folder", ["", "ml-100k"])
def test_files_are_found_in_a_folder_or_one_below(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "ml-100k.inter").write_bytes(b"4")
    assert read_source(tmp_path, LAYOUTS) == {"ml-100k.inter": b"4"}


def test_the_first_complete_layout_wins(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", **{"u.data": b"1", "x/ml-100k.inter": b"4"})
    assert read_source(path, LAYOUTS) == {"ml-100k.inter": b"4"}


def test_the_least_deep_file_of_a_name_is_read(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", **{"x/old/ml-100k.inter": b"3", "x/ml-100k.inter": b"4"})
    assert read_source(path, LAYOUTS) == {"ml-100k.inter": b"4"}
    write_zip(path, **{"y/ml-100k.inter": b"3", "x/ml-100k.inter": b"4"})
    with pytest.raises(SourceError, match=r"holds both y/ml-100k.inter and x/ml-100k.inter; give the folder"):
        read_source(path, LAYOUTS)


def test_neither_layout(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.zip: does not hold u\.data, u\.item or ml-100k\.inter"):
        read_source(write_zip(tmp_path / "a.zip", **{"u.data": b"1"}), LAYOUTS)


def test_missing_source(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"absent\.zip: not found; expected a folder or a zip archive"):
        read_source(tmp_path / "absent.zip", LAYOUTS)


@pytest.mark.parametrize(
    "name", ["../u.data", "x/../../u.data", "/etc/passwd", "C:/u.data", "..\\u.data", "\\\\server\\u.data"]
)
def test_members_that_point_outside(name: str, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", **{"u.data": b"1", "u.item": b"2", name: b"3"})
    with pytest.raises(SourceError, match="points outside the archive; refused"):
        read_source(path, LAYOUTS)


def test_links(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("u.data")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(SourceError, match=r"member 'u\.data' is a link; refused"):
        read_source(tmp_path / "a.zip", LAYOUTS)


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("MAX_FILE_BYTES", r"member 'u\.item' unpacks to 2,000 bytes; refused"),
        ("MAX_TOTAL_BYTES", r"unpacks to 2,001 bytes; more than 1,500 are refused"),
    ],
)
def test_bombs(limit: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, limit, 1_500)
    path = write_zip(tmp_path / "a.zip", **{"u.data": b"1", "u.item": b"0" * 2_000})
    with pytest.raises(SourceError, match=message):
        read_source(path, LAYOUTS)


def test_a_bomb_that_lies_about_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 1_500)
    path = write_zip(tmp_path / "a.zip", **{"ml-100k.inter": b"0" * 2_000})
    honest = (2_000).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(honest, (10).to_bytes(4, "little")))
    with pytest.raises(SourceError, match=r"member 'ml-100k\.inter' is not readable"):
        read_source(path, LAYOUTS)


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 1)
    with pytest.raises(SourceError, match="2 members; more than 1 are refused"):
        read_source(write_zip(tmp_path / "a.zip", a=b"", b=b""), LAYOUTS)


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 3)
    (tmp_path / "ml-100k.inter").write_bytes(b"1234")
    with pytest.raises(SourceError, match="4 bytes; more than 3 are refused"):
        read_source(tmp_path, LAYOUTS)


def test_not_a_zip_archive(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("<html>not found</html>")
    with pytest.raises(SourceError, match="not a readable zip archive"):
        read_source(tmp_path / "a.zip", LAYOUTS)


def test_a_damaged_member(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ml-100k.inter", b"content")
    path.write_bytes(path.read_bytes().replace(b"content", b"altered"))
    with pytest.raises(SourceError, match=r"member 'ml-100k\.inter' is not readable \(Bad CRC"):
        read_source(path, LAYOUTS)


def test_a_gzipped_file_stands_for_the_file(tmp_path: Path) -> None:
    (tmp_path / "ml-100k.inter.gz").write_bytes(gzip.compress(b"4" * 1_000))
    assert read_source(tmp_path, LAYOUTS) == {"ml-100k.inter": b"4" * 1_000}


def test_a_gzipped_bomb_and_a_broken_one(tmp_path: Path) -> None:
    (tmp_path / "ml-100k.inter.gz").write_bytes(packed := gzip.compress(b"4" * 5_000))
    found = find_source(tmp_path, LAYOUTS, max_file_bytes=4_999)
    with pytest.raises(SourceError, match=r"'ml-100k\.inter\.gz' unpacks to more than 4,999 bytes; refused"):
        found["ml-100k.inter"].read()
    (tmp_path / "ml-100k.inter.gz").write_bytes(packed[:-9])
    with pytest.raises(SourceError, match=r"'ml-100k\.inter\.gz' is not readable"):
        read_source(tmp_path, LAYOUTS)
    (tmp_path / "ml-100k.inter.gz").write_bytes(b"<html>not found</html>")
    with pytest.raises(SourceError, match=r"'ml-100k\.inter\.gz' is not readable"):
        read_source(tmp_path, LAYOUTS)


def test_a_data_set_may_have_larger_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 3)
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 5)
    path = write_zip(tmp_path / "a.zip", **{"ml-100k.inter": b"1234", "README": b"123"})
    with pytest.raises(SourceError, match="unpacks to 4 bytes"):
        read_source(path, LAYOUTS)
    assert find_source(path, LAYOUTS, max_file_bytes=4)["ml-100k.inter"].read() == b"1234"
