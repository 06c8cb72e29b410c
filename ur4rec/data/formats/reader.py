"""What every format gives: the names of its columns, their rows, and where a row stands in the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from ur4rec.data.formats.streams import TextFile


@dataclass(frozen=True)
class Rows:
    """Some columns of a file, under its own names."""

    columns: pa.Table
    num_ragged: int = 0
    """Rows with too few or too many fields, left out of `columns`."""


class Reader(Protocol):
    """A file that has been recognised."""

    @property
    def read_as(self) -> str:
        """The format in words."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns, as they stand in the file."""

    def read(self, names: Sequence[str]) -> Rows:
        """Read the columns of these names."""

    def locate(self, row: int) -> str:
        """Tell where a row of what `read` gives stands in the file."""

    def locate_ragged(self) -> str:
        """Tell where the first row with too few or too many fields stands, and the two numbers."""


@dataclass(frozen=True)
class Format:
    """A format of files: how it is recognised, and what reads it."""

    name: str
    recognise: Callable[[TextFile], bool]
    """Whether a file is of this format, by its name and its first characters."""
    open: Callable[[TextFile], Reader]
