"""Reading files out of zip archives that nobody vouches for; nothing is unpacked to disk."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from ur4rec.data.errors import SourceError

MAX_FILE_BYTES = 1 << 28
MAX_TOTAL_BYTES = 1 << 30
MAX_MEMBERS = 10_000
MAC_FOLDER = "__MACOSX/"
"""What macOS adds to the archives that it makes."""


def read_source(source: Path, layouts: Sequence[Sequence[str]]) -> dict[str, bytes]:
    """Read the files of the first of the `layouts`, sets of names, that a folder or a zip archive holds in full.

    Raises:
        SourceError: The source is missing or unsafe, or holds none of the layouts.
    """
    if source.is_dir():
        files = _list_folder(source)
    elif source.is_file():
        files = _list_archive(source)
    else:
        raise SourceError(f"{source}: not found; expected a folder or a zip archive")
    for names in layouts:
        if all(name in files for name in names):
            read = _read_file if source.is_dir() else _read_member
            return {name: read(source, _choose(source, files[name])) for name in names}
    expected = " or ".join(", ".join(names) for names in layouts)
    raise SourceError(f"{source}: does not hold {expected}")


def open_only_member(path: Path) -> IO[bytes]:
    """Open the only file of a zip archive.

    Raises:
        SourceError: The archive is unsafe, damaged, encrypted, or holds several files or none.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path)
            files = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith(MAC_FOLDER)]
            if len(files) != 1:
                raise SourceError(f"{path}: a zip archive of {len(files):,} files; unpack it, then name one of them")
            return archive.open(files[0])
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError) as error:
        raise SourceError(f"{path}: not a readable zip archive ({error}); unpack it first") from None


def check_members(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse an archive that is made to do harm, before anything of it is read.

    Raises:
        SourceError: A member points outside the archive or is a link, or the archive is absurdly large.
    """
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise SourceError(f"{path}: {len(members):,} members; more than {MAX_MEMBERS:,} are refused")
    for member in members:
        if _is_outside(member.filename):
            raise SourceError(f"{path}: member {member.filename!r} points outside the archive; refused")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise SourceError(f"{path}: member {member.filename!r} is a link; refused")
        if member.file_size > MAX_FILE_BYTES:
            raise SourceError(f"{path}: member {member.filename!r} unpacks to {member.file_size:,} bytes; refused")
    total = sum(member.file_size for member in members)
    if total > MAX_TOTAL_BYTES:
        raise SourceError(f"{path}: unpacks to {total:,} bytes; more than {MAX_TOTAL_BYTES:,} are refused")


def _is_outside(name: str) -> bool:
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    return posix.is_absolute() or bool(windows.anchor) or ".." in windows.parts


def _list_folder(folder: Path) -> dict[str, list[str]]:
    """Return base name → paths, in the folder itself or one below."""
    files = sorted(path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.is_file())
    return _group_by_name([path.relative_to(folder).as_posix() for path in files])


def _list_archive(path: Path) -> dict[str, list[str]]:
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path)
            return _group_by_name(archive.namelist())
    except (zipfile.BadZipFile, OSError) as error:
        raise SourceError(f"{path}: not a readable zip archive ({error})") from None


def _group_by_name(paths: Sequence[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(PurePosixPath(path).name, []).append(path)
    return groups


def _choose(source: Path, candidates: Sequence[str]) -> str:
    """Return the least deep file of its name."""
    by_depth = sorted(candidates, key=lambda name: name.count("/"))
    if len(by_depth) > 1 and by_depth[0].count("/") == by_depth[1].count("/"):
        raise SourceError(f"{source}: holds both {by_depth[0]} and {by_depth[1]}; give the folder of one of them")
    return by_depth[0]


def _read_file(folder: Path, name: str) -> bytes:
    path = folder / name
    if path.stat().st_size > MAX_FILE_BYTES:
        raise SourceError(f"{path}: {path.stat().st_size:,} bytes; more than {MAX_FILE_BYTES:,} are refused")
    return path.read_bytes()


def _read_member(path: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        raise SourceError(f"{path}: member {name!r} is not readable ({error})") from None
    if len(content) > MAX_FILE_BYTES:
        raise SourceError(f"{path}: member {name!r} unpacks to more than {MAX_FILE_BYTES:,} bytes; refused")
    return content
