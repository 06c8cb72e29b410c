"""Files and folders in the making: out of sight until they are whole, and gone when nobody makes them any more.

Whoever makes one holds a lock on it, which ends with the process at the latest. So what nobody holds was left by a
process that was killed, and the next one that works beside it removes it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ur4rec.storage.writing import WriteError, writing

NAME = re.compile(r"(\.|ur4rec-).+-[0-9a-f]{8}\.tmp")
"""Names of what is made here."""
AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Numbers of the Linux call."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Make an empty temporary sibling that replaces `path` if the block ends well, and vanishes if it does not.

    A link stays, and what it leads to is replaced.

    Raises:
        WriteError: The disk is full, say, or a folder, a device or a pipe is there; what was there before is as it was.
    """
    path = path.resolve() if path.is_symlink() else path
    if path.exists() and not path.is_file():
        raise WriteError(errno.EEXIST, "is there and is no file; name a file to write", str(path))
    with _writing_beside(path), _make(path.parent, f".{path.name}", is_folder=False) as temporary:
        yield temporary
        temporary.replace(path)


@contextmanager
def temporary_sibling(target: Path) -> Iterator[Path]:
    """Make a folder beside the target, gone after the block; a `WriteError` tells that the disk is full, say."""
    with _writing_beside(target), _make(target.parent, f".{target.name}") as temporary:
        temporary.chmod(0o755)
        yield temporary


@contextmanager
def scratch_folder(name: str, parent: Path | None = None) -> Iterator[Path]:
    """Make a folder that nobody else may enter, gone after the block.

    Args:
        name: What it is for; part of its name.
        parent: Where it goes; None: where the system has its temporary files.

    Raises:
        WriteError: The disk is full, say.
    """
    prefix = f".{name}" if parent else f"ur4rec-{name}"
    with _make(parent or Path(tempfile.gettempdir()), prefix) as folder, writing(folder):
        yield folder


def remove_leftovers(parent: Path) -> None:
    """Remove what killed processes have left in a folder, never what is in the making."""
    for path in [path for path in parent.iterdir() if NAME.fullmatch(path.name)]:
        with suppress(OSError):  # it is being made, or is another user's
            _remove_unheld(path)


def move_folder(new: Path, target: Path) -> None:
    """Move a finished folder to its place on the same file system; an older one there goes.

    The older one changes places with it where the system can do that in one step: a kill then leaves one of the two.
    """
    if not target.exists():
        new.rename(target)
        return
    if _exchange(new, target):
        remove(new)
        return
    with temporary_sibling(target) as retired:
        former = target.rename(retired / target.name)
        try:
            new.rename(target)
        except OSError:
            former.rename(target)
            raise


def _exchange(first: Path, second: Path) -> bool:
    """Return whether both have changed places; Linux can, on most file systems (renameat2)."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    return rename is not None and rename(AT_FDCWD, bytes(first), AT_FDCWD, bytes(second), RENAME_EXCHANGE) == 0


@contextmanager
def _writing_beside(path: Path) -> Iterator[None]:
    """Make the parents that are missing; if the block fails they go again."""
    missing = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with writing(path):
            yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):  # something else is in it by now
                folder.rmdir()
        raise


@contextmanager
def _make(parent: Path, prefix: str, is_folder: bool = True) -> Iterator[Path]:
    try:
        remove_leftovers(parent)
        path, held = _make_held(parent, prefix, is_folder)
    except PermissionError as error:
        raise WriteError(error.errno, f"{error.strerror}; choose a folder of your own", str(parent)) from error
    try:
        yield path
    finally:
        remove(path)
        os.close(held)


def _make_held(parent: Path, prefix: str, is_folder: bool) -> tuple[Path, int]:
    """Make something new, and lock it; again where another process removed it as a leftover before it was locked."""
    while True:
        path = parent / f"{prefix}-{secrets.token_hex(4)}.tmp"
        if is_folder:
            path.mkdir(mode=0o700)
        else:
            path.touch(exist_ok=False)
        with suppress(FileNotFoundError):
            held = os.open(path, os.O_RDONLY)
            if _lock(held) and path.exists():
                return path, held
            os.close(held)


def _lock(descriptor: int) -> bool:
    """Return whether it is held now, or the file system has no locks, where nothing is ever taken for a leftover."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _remove_unheld(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(path)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove whatever is there; of a folder, as much as may be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
