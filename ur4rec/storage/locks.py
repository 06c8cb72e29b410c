"""One run at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"
"""The file that is locked; it stays, empty, and is no part of what is published."""


class FolderInUseError(ValueError):
    """Another run works in the same folder."""


@contextmanager
def lock_folder(folder: Path, other: str = "another folder") -> Iterator[None]:
    """Keep other runs out of a folder, which is made if need be; the lock ends with this process at the latest.

    Raises:
        FolderInUseError: Another run holds it; tells to choose `other` instead.
    """
    folder.mkdir(parents=True, exist_ok=True)
    message = f"{folder}: another run is using it ({LOCK} is locked); wait for its end or choose {other}"
    with hold_lock(folder / LOCK, FolderInUseError(message)):
        yield


@contextmanager
def hold_lock(file: Path, refusal: Exception) -> Iterator[None]:
    """Hold a lock on a file, which stays, during the block; raise `refusal` at once where another holds it."""
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise refusal from None
    try:
        yield
    finally:
        lock.release()
