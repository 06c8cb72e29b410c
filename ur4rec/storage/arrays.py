"""Arrays in files of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np


def save_array(path: Path, array: np.ndarray) -> None:
    """`np.save`, whose own error (2.4) tells how much was written and not why it was no more.

    Raises:
        OSError: The reason.
    """
    with path.open("wb") as file:
        np.save(_Plain(file.write), array, allow_pickle=False)


class _Plain:
    """Not a file, so numpy hands it bytes."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.write = write
