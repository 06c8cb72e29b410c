"""A lack of memory, by whichever library noticed it, in words that name what to lower."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

LACK = re.compile("out of memory|not enough memory|can't allocate memory|cannot allocate memory", re.IGNORECASE)
"""What torch says of it (2.13), on the CPU and on a GPU; numpy and Arrow raise a `MemoryError`."""
LONGEST_DETAIL = 200


class OutOfMemoryError(ValueError):
    """A task that needs more memory than there is; names the settings to lower."""


@contextmanager
def naming_settings(*settings: str) -> Iterator[None]:
    """Say which settings to lower where memory runs out in the block; also a decorator.

    The need for memory grows with them; the first is the most useful.

    Raises:
        OutOfMemoryError: Memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        message = explain_lack(error, *settings)
        traceback.clear_frames(error.__traceback__)  # they hold what fills the memory, and the message needs some
        raise OutOfMemoryError(message) from error


def lacks_memory(error: BaseException) -> bool:
    """Return whether an exception tells of a lack of memory."""
    return isinstance(error, MemoryError) or bool(LACK.search(str(error)))


def explain_lack(error: BaseException, *settings: str) -> str:
    """Tell in one line what was asked for, where the library says so, and what to do."""
    detail = " ".join(str(error).split())[:LONGEST_DETAIL]
    return f"out of memory{f' ({detail})' if detail else ''}; lower {' or '.join(settings)}, or give it more memory"
