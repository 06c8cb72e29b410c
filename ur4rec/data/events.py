"""Kinds of interactions, such as view and purchase: counted, and chosen by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float64

from ur4rec.columns import EVENT
from ur4rec.data.column_names import list_names
from ur4rec.data.errors import DataError
from ur4rec.data.ids import parse_ids
from ur4rec.data.tables import Table

MOST_NAMES = 100
"""A column with more distinct values names no events."""


class Events:
    """The column of events of a file.

    Args:
        table: Holds the column.
    """

    def __init__(self, table: Table) -> None:
        ids = parse_ids(table, EVENT)
        self._codes, self._path = ids.codes, table.path
        self.names: list[str] = ids.distinct.to_pylist()

    def count(self) -> dict[str, int]:
        """Return name → rows, the most frequent first; empty where the column names no events."""
        if len(self.names) > MOST_NAMES:
            return {}
        counts = np.bincount(self._codes, minlength=len(self.names)).tolist()
        return dict(sorted(zip(self.names, counts, strict=True), key=lambda pair: -pair[1]))

    def select(self, chosen: Sequence[str]) -> Bool[np.ndarray, "R"]:
        """Mark the rows of the chosen events.

        Raises:
            DataError: There is no such event; names the nearest and those that there are.
        """
        for name in chosen:
            if name not in self.names:
                spelled = {other.lower(): other for other in self.names}
                nearest = difflib.get_close_matches(name.lower(), spelled, n=1)
                hint = f"is it {spelled[nearest[0]]!r}? " if nearest else ""
                raise DataError(f"{self._path}: no event {name!r}; {hint}There are {list_names(self.names)}")
        return np.asarray(np.isin(self.names, list(chosen))[self._codes])

    def weigh(self, weights: Mapping[str, float]) -> Float64[np.ndarray, "R"]:
        """Return the number of each row's event; 0 for those without one."""
        return np.asarray(np.array([weights.get(name, 0.0) for name in self.names])[self._codes])
