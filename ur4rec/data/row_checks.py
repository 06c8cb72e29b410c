"""Malformed rows: the first one stops the run, or all of them are dropped and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from ur4rec.data.config import BadRows
from ur4rec.data.csv_lines import locate_ragged
from ur4rec.data.errors import DataError
from ur4rec.data.fields import Ids
from ur4rec.data.tables import Table

RAGGED = "ragged_row"


@dataclass(frozen=True)
class RowCheck:
    """One thing that can be wrong with a row."""

    reason: str
    """Name of the count in the manifest."""
    column: str
    expected: str
    fails: Bool[np.ndarray, "R"]


@dataclass(frozen=True)
class CheckedRows:
    """Outcome of the checks of one file."""

    keep: Bool[np.ndarray, "R"]
    excluded: dict[str, int]
    """Reason → rows dropped; a row counts once, under the first check that it fails."""


def check_ids(ids: Ids, column: str) -> list[RowCheck]:
    """Checks of an id column."""
    return [
        RowCheck(f"missing_{column}", column, "an id", ids.missing),
        RowCheck(f"broken_{column}", column, "an id on one line (is a quote left open?)", ids.broken),
    ]


def check_rows(table: Table, checks: Sequence[RowCheck], bad_rows: BadRows) -> CheckedRows:
    """Applies the checks in order.

    Raises:
        DataError: `bad_rows` is `error` and a row fails; names the first such row, its column and value, and
            how many more there are.
    """
    keep = np.ones(table.columns.num_rows, dtype=bool)
    excluded = {RAGGED: table.num_ragged} if table.num_ragged else {}
    for check in checks:
        fails = check.fails & keep
        keep &= ~fails
        if fails.any():
            excluded[check.reason] = int(fails.sum())
    if excluded and bad_rows == "error":
        raise DataError(_explain(table, checks, excluded))
    return CheckedRows(keep, excluded)


def _explain(table: Table, checks: Sequence[RowCheck], excluded: dict[str, int]) -> str:
    if RAGGED in excluded:
        first, where = RAGGED, locate_ragged(table.path)
    else:
        row, check = min(
            ((int(np.argmax(check.fails)), check) for check in checks if check.fails.any()),
            key=lambda pair: pair[0],
        )
        value = table.columns[check.column][row].as_py()
        first = check.reason
        where = f"{table.locate(row)}, column {check.column!r}: expected {check.expected}, got {value!r}"
    others = {reason: count - (reason == first) for reason, count in excluded.items()}
    listed = ", ".join(f"{count:,} {reason}" for reason, count in others.items() if count)
    more = f" ({sum(others.values()):,} more bad rows: {listed})" if listed else ""
    return f"{table.path}, {where}{more}. Correct the file, or set bad_rows: exclude to drop such rows and count them"
