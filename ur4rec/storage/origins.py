"""Names of copies in messages: users know what they have named, not where it was put meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_COPIES: dict[str, str] = {}
"""Path of a copy that outlives the call that made it → what it is a copy of."""


@contextmanager
def named(copy: Path, origin: str) -> Iterator[None]:
    """Errors of the block name what a path is a copy of, wherever they would name the copy."""
    try:
        yield
    except (ValueError, OSError) as error:
        error.args = tuple(_rename(each, copy, origin) for each in error.args)
        if isinstance(error, OSError):
            error.filename = _rename(error.filename, copy, origin)
            error.filename2 = _rename(error.filename2, copy, origin)
        raise


def remember_copy(copy: Path, origin: str) -> None:
    """Lets `name_origins` tell what a path is a copy of."""
    _COPIES[str(copy)] = origin


def name_origins(message: str) -> str:
    """A message that names what was copied, not the copies that are remembered."""
    for copy, origin in _COPIES.items():
        message = message.replace(copy, origin)
    return message


def _rename(value: object, copy: Path, origin: str) -> object:
    if isinstance(value, Path):
        return _rename(str(value), copy, origin)
    return value.replace(str(copy), origin) if isinstance(value, str) else value
