"""Failures of reading and writing, told by the path that the user knows and with what to do."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or have the quota raised",
    errno.EFBIG: "raise the limit on the size of a file (`ulimit -f`)",
    errno.EROFS: "choose a place that can be written to",
}
"""Failures that only writing has, and what to do."""


class WriteError(OSError):
    """A file or folder that could not be written; names it and the reason."""

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name the path where the system's error does not, or where it names a temporary one that nobody knows.

    Raises:
        WriteError: It could not be written in the block.
    """
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        number = _find_number(error)
        if number not in ADVICE:
            raise
        raise WriteError(number, f"{os.strerror(number)}; {ADVICE[number]}", str(path)) from error


def _find_number(error: OSError) -> int:
    """Return the number of the system's error; `shutil.copytree` has only its text."""
    found = re.search(r"\[Errno (\d+)\]", str(error))
    return error.errno or (int(found[1]) if found else 0)


_COPIES: dict[str, str] = {}
"""Path of a copy that outlives the call that made it → what it is a copy of."""


@contextmanager
def named(copy: Path, origin: str) -> Iterator[None]:
    """Let errors of the block name what a path is a copy of, wherever they would name the copy."""
    try:
        yield
    except (ValueError, OSError) as error:
        error.args = tuple(_rename(each, copy, origin) for each in error.args)
        if isinstance(error, OSError):
            error.filename = _rename(error.filename, copy, origin)
            error.filename2 = _rename(error.filename2, copy, origin)
        raise


def remember_copy(copy: Path, origin: str) -> None:
    """Let `name_origins` tell what a path is a copy of."""
    _COPIES[str(copy)] = origin


def name_origins(message: str) -> str:
    """Return a message that names what was copied, not the copies that are remembered."""
    for copy, origin in _COPIES.items():
        message = message.replace(copy, origin)
    return message


def _rename(value: object, copy: Path, origin: str) -> object:
    if isinstance(value, Path):
        return _rename(str(value), copy, origin)
    return value.replace(str(copy), origin) if isinstance(value, str) else value
