"""Writing that fails: on a full disk, in a place that is read-only, past a quota or a limit of the process."""

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
    """Names the path where the system's error does not, or names a temporary one that nobody knows.

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
    """Of the system's error; `shutil.copytree` has only its text."""
    found = re.search(r"\[Errno (\d+)\]", str(error))
    return error.errno or (int(found[1]) if found else 0)
