"""Reading files out of zip archives that nobody vouches for; nothing is unpacked to disk."""

from __future__ import annotations

import gzip
import io
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, BinaryIO, cast

from ur4rec.data.errors import SourceError

MAX_FILE_BYTES = 1 << 28
MAX_TOTAL_BYTES = 1 << 30
MAX_MEMBERS = 10_000
MAC_FOLDER = "__MACOSX/"
"""What macOS adds to the archives that it makes."""
FILES_AT_THEIR_LARGEST = 2
GZIP = ".gz"
BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class SourceFile:
    """One file of a folder or of a zip archive.

    Args:
        source: The folder or the archive.
        name: Its path there.
        max_bytes: No more of it is read.
    """

    source: Path
    name: str
    max_bytes: int

    def read(self) -> bytes:
        """Read the whole file.

        Raises:
            SourceError: It is too large or damaged.
        """
        with self.open() as file:
            return file.read()

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the file for reading in parts; a `.gz` is unpacked on the way.

        Raises:
            SourceError: It is too large or damaged, seen now or while it is read in the block.
        """
        try:
            with ExitStack() as stack:
                raw = stack.enter_context(self._open_raw(stack))
                if self.name.endswith(GZIP):
                    raw = cast(IO[bytes], stack.enter_context(gzip.open(raw)))
                yield cast(BinaryIO, stack.enter_context(io.BufferedReader(_Bounded(raw, self), BUFFER_BYTES)))
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, gzip.BadGzipFile) as error:
            raise SourceError(f"{self.source}: member {self.name!r} is not readable ({error})") from None

    def _open_raw(self, stack: ExitStack) -> IO[bytes]:
        if self.source.is_dir():
            path = self.source / self.name
            if path.stat().st_size > self.max_bytes:
                raise SourceError(f"{path}: {path.stat().st_size:,} bytes; more than {self.max_bytes:,} are refused")
            return path.open("rb")
        return stack.enter_context(zipfile.ZipFile(self.source)).open(self.name)


class _Bounded(io.RawIOBase):
    """Refuses to hand on more bytes than a file may have."""

    def __init__(self, raw: IO[bytes], file: SourceFile) -> None:
        self.raw, self.file, self.left = raw, file, file.max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self.raw.read(len(buffer))
        self.left -= len(content)
        if self.left < 0:
            file = self.file
            raise SourceError(
                f"{file.source}: member {file.name!r} unpacks to more than {file.max_bytes:,} bytes; refused"
            )
        buffer[: len(content)] = content
        return len(content)


def find_source(
    source: Path, layouts: Sequence[Sequence[str]], max_file_bytes: int | None = None
) -> dict[str, SourceFile]:
    """Find the files of the first of the `layouts`, sets of names, that a folder or a zip archive holds in full.

    A file may also stand there compressed, with `.gz` behind its name.

    Raises:
        SourceError: The source is missing or unsafe, or holds none of the layouts.
    """
    max_bytes = max_file_bytes or MAX_FILE_BYTES
    if source.is_dir():
        files = _list_folder(source)
    elif source.is_file():
        files = _list_archive(source, max_bytes)
    else:
        raise SourceError(f"{source}: not found; expected a folder or a zip archive")
    for names in layouts:
        found = {name: files.get(name) or files.get(name + GZIP) for name in names}
        if all(found.values()):
            chosen = {name: _choose(source, paths) for name, paths in found.items() if paths}
            return {name: SourceFile(source, path, max_bytes) for name, path in chosen.items()}
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


def check_members(archive: zipfile.ZipFile, path: Path, max_file_bytes: int | None = None) -> None:
    """Refuse an archive that is made to do harm, before anything of it is read.

    Raises:
        SourceError: A member points outside the archive or is a link, or the archive is absurdly large.
    """
    members, max_file_bytes = archive.infolist(), max_file_bytes or MAX_FILE_BYTES
    if len(members) > MAX_MEMBERS:
        raise SourceError(f"{path}: {len(members):,} members; more than {MAX_MEMBERS:,} are refused")
    for member in members:
        if _is_outside(member.filename):
            raise SourceError(f"{path}: member {member.filename!r} points outside the archive; refused")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise SourceError(f"{path}: member {member.filename!r} is a link; refused")
        if member.file_size > max_file_bytes:
            raise SourceError(f"{path}: member {member.filename!r} unpacks to {member.file_size:,} bytes; refused")
    total = sum(member.file_size for member in members)
    most = MAX_TOTAL_BYTES if max_file_bytes <= MAX_FILE_BYTES else FILES_AT_THEIR_LARGEST * max_file_bytes
    if total > most:
        raise SourceError(f"{path}: unpacks to {total:,} bytes; more than {most:,} are refused")


def _is_outside(name: str) -> bool:
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    return posix.is_absolute() or bool(windows.anchor) or ".." in windows.parts


def _list_folder(folder: Path) -> dict[str, list[str]]:
    """Return base name → paths, in the folder itself or one below."""
    files = sorted(path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.is_file())
    return _group_by_name([path.relative_to(folder).as_posix() for path in files])


def _list_archive(path: Path, max_file_bytes: int) -> dict[str, list[str]]:
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path, max_file_bytes)
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
