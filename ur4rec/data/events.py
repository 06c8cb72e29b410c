"""Kinds of interactions, such as view and purchase: counted, and chosen by name."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64

from ur4rec.columns import EVENT
from ur4rec.data.column_names import list_names
from ur4rec.data.errors import DataError
from ur4rec.data.fields import Numbers
from ur4rec.data.ids import parse_ids
from ur4rec.data.tables import Table

MOST_NAMES = 100
"""A column with more distinct values names no events."""


@dataclass(frozen=True)
class Events:
    """A column of events."""

    path: Path
    codes: Int64[np.ndarray, "R"]
    """Position of each row's event in `names`."""
    names: list[str]

    def count(self) -> dict[str, int]:
        """Return name → rows, the most frequent first."""
        counts = np.bincount(self.codes, minlength=len(self.names)).tolist()
        return dict(sorted(zip(self.names, counts, strict=True), key=lambda pair: -pair[1]))

    def select(self, chosen: Collection[str]) -> Bool[np.ndarray, "R"]:
        """Mark the rows of the chosen events; all rows where none is chosen.

        Raises:
            DataError: There is no such event; names the nearest and those that there are.
        """
        for name in chosen:
            if name not in self.names:
                raise DataError(f"{self.path}: no event {name!r}; {self._hint(name)}There are {list_names(self.names)}")
        return np.asarray(np.isin(self.names, list(chosen or self.names))[self.codes])

    def weigh(self, weights: Mapping[str, float]) -> Numbers:
        """Return the number of each row's event, in place of a rating; 0 for those without one."""
        nothing = np.zeros(len(self.codes), dtype=bool)
        return Numbers(np.array([weights.get(name, 0.0) for name in self.names])[self.codes], nothing, nothing)

    def _hint(self, name: str) -> str:
        spelled = {other.lower(): other for other in self.names}
        nearest = difflib.get_close_matches(name.lower(), spelled, n=1)
        return f"is it {spelled[nearest[0]]!r}? " if nearest else ""


def read_events(table: Table, is_used: bool) -> Events | None:
    """Read the column of events; None where there is none.

    Args:
        table: May hold the column.
        is_used: Whether events are chosen; if not, a column that names no events counts as none.

    Raises:
        DataError: It is used and cannot be read.
    """
    if EVENT not in table.columns.column_names:
        return None
    try:
        ids = parse_ids(table, EVENT)
    except DataError:
        if is_used:
            raise
        return None
    is_name = is_used or len(ids.distinct) <= MOST_NAMES
    return Events(table.path, ids.codes, ids.distinct.to_pylist()) if is_name else None
