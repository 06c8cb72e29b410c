"""Append-only files of answers in a local folder, one for each writer."""

from __future__ import annotations

import os
import re
import secrets
import socket
import time
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple, Protocol

from ur4rec.text.llm.cached_answers import CacheError

SUFFIX = ".jsonl"


class Placement(NamedTuple):
    """Where lines were put."""

    path: Path
    offsets: list[int]
    """In bytes, one for each line."""


class SegmentStore(Protocol):
    """Keeps lines durably and shares them between processes."""

    def open(self) -> list[Path]:
        """Local files with all lines that any writer has stored so far, by name."""

    def append(self, lines: Sequence[bytes]) -> Placement:
        """Stores lines; they are durable when this returns, and readable at the placement."""

    def close(self) -> None:
        """Ends the writing; nothing durable depends on it."""


class SegmentFile:
    """A new file to which this process alone appends.

    Args:
        path: Where it goes; must not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size_bytes = 0
        self._file = path.open("xb")

    def append(self, lines: Sequence[bytes]) -> Placement:
        """Hands lines to the operating system."""
        *offsets, self._size_bytes = accumulate(map(len, lines), initial=self._size_bytes)
        self._file.write(b"".join(lines))
        self._file.flush()
        return Placement(self.path, offsets)

    def sync(self) -> None:
        """Waits until everything appended is on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class LocalSegments:
    """Segments in a folder that several processes may share.

    A group of lines is one write and one fsync. After a failed write the file is given up, torn as it may be, and the
    next group begins another.

    Args:
        folder: Where the segments are.
        create: Whether it is made if missing.

    Raises:
        CacheError: The folder cannot be made or written to.
    """

    def __init__(self, folder: Path, create: bool = True) -> None:
        self._folder = folder
        self._segment: SegmentFile | None = None
        if not create and not folder.exists():
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CacheError(f"{folder}: cannot be made ({error.strerror}); choose a folder for the cache") from None
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise CacheError(f"{folder}: cannot be written to; expected a folder that this user may read and write")

    def open(self) -> list[Path]:
        """All segments in the folder, by name."""
        return sorted(self._folder.glob(f"*{SUFFIX}"))

    def append(self, lines: Sequence[bytes]) -> Placement:
        """Appends lines to this process's own segment.

        Raises:
            CacheError: The disk is full, or the folder has gone.
        """
        try:
            if self._segment is None:
                self._segment = SegmentFile(self._folder / f"{name_segment()}{SUFFIX}")
                _sync_folder(self._folder)
            placement = self._segment.append(lines)
            self._segment.sync()
        except OSError as error:
            self._give_up()
            raise CacheError(
                f"{self._folder}: cannot be written to ({error.strerror}); answers stored so far are safe, "
                "free some space or correct the folder and run again"
            ) from None
        return placement

    def close(self) -> None:
        """Closes this process's segment."""
        if self._segment:
            self._segment.close()
            self._segment = None

    def _give_up(self) -> None:
        try:
            self.close()
        except OSError:  # what could not be written cannot be flushed either
            self._segment = None


def name_segment() -> str:
    """A name that no other writer has, and that sorts by time: milliseconds, host, process, chance."""
    host = re.sub("[^a-z0-9]+", "-", socket.gethostname().lower()).strip("-")[:40]
    return f"{time.time_ns() // 10**6:013d}-{host}-{os.getpid()}-{secrets.token_hex(8)}"


def _sync_folder(folder: Path) -> None:
    """Makes the names of new files in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
