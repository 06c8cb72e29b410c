"""What every format gives: the names of its columns, their rows, and where a row stands in the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from ur4rec.data.formats.streams import TextFile


@dataclass(frozen=True)
class Rows:
    """Some columns of a file, under its own names."""

    columns: pa.Table
    num_ragged: int = 0
    """Rows with too few or too many fields, or that are none, left out of `columns`."""
    places: Int64[np.ndarray, "R"] | None = None
    """What `locate` knows each row by, where that is not its number."""
    has_decimal_commas: bool = False
    """Whether a comma may stand before the fraction of a number."""
    are_positions: bool = False
    """Whether the times are positions in a user's list, for want of times."""


class Reader(Protocol):
    """A file that has been recognised."""

    @property
    def path(self) -> Path:
        """Where it is."""

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
class TextReader:
    """A reader of a text, by the name of its format."""

    file: TextFile
    name: str

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.file.path

    @property
    def read_as(self) -> str:
        """The format in words."""
        return self.file.describe(self.name)


@dataclass(frozen=True)
class DerivedReader:
    """A reader whose columns are made of those of another, row by row."""

    rows: Reader

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.rows.path

    @property
    def read_as(self) -> str:
        """The format in words."""
        return self.rows.read_as

    def locate(self, row: int) -> str:
        """Tell where a row stands in the file."""
        return self.rows.locate(row)

    def locate_ragged(self) -> str:
        """Tell where the first row with too few or too many fields stands."""
        return self.rows.locate_ragged()


@dataclass(frozen=True)
class Format:
    """A format of files: how it is recognised, and what reads it."""

    name: str
    recognise: Callable[[TextFile], bool]
    """Whether a file is of this format, by its name and its first characters."""
    open: Callable[[TextFile], Reader]
