"""Interactions of any CSV or Parquet file: who, what, when and, if there is one, the rating."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Bool, Float64, Int64

from ur4rec.columns import ITEM_ID, RATING, TIMESTAMP, USER_ID
from ur4rec.data.config import BadRows
from ur4rec.data.errors import DataError
from ur4rec.data.fields import Ids, Numbers, RowCheck, check_ids, check_rows, parse_ids, parse_numbers
from ur4rec.data.tables import read_table

DUPLICATE = "duplicate_row"
CLOCK_TOLERANCE_S = 86_400
SECONDS_LIMIT = 1e11
"""Year 5138 in seconds, 1973 in milliseconds: a typical value above it is no number of seconds."""
FINER_UNITS = (
    (1e17, "nanoseconds", "1,000,000,000"),
    (1e14, "microseconds", "1,000,000"),
    (SECONDS_LIMIT, "milliseconds", "1,000"),
)


@dataclass(frozen=True)
class Interactions:
    """Valid rows in the order of the file."""

    users: Int64[np.ndarray, "R"]
    """Position in `user_ids`."""
    items: Int64[np.ndarray, "R"]
    timestamps: Float64[np.ndarray, "R"]
    """Seconds since 1970-01-01, with fractions where the file has them."""
    ratings: Float64[np.ndarray, "R"] | None
    user_ids: pa.StringArray
    item_ids: pa.StringArray
    num_read: int
    excluded: dict[str, int]
    """Reason → rows dropped."""
    reading: dict[str, Any] = field(default_factory=dict)
    """How the file was read, for the manifest."""


def read_interactions(path: Path, bad_rows: BadRows = "error", needs_rating: bool = False) -> Interactions:
    """Read the columns `user_id, item_id, timestamp` and, if there is one, `rating`, of a CSV or Parquet file.

    Rows with the same user, item and timestamp are one interaction: the first stays, the others are counted.
    The same user and item at another time is another interaction.

    Args:
        path: CSV (UTF-8, commas) or Parquet.
        bad_rows: Whether a malformed row stops the reading or is dropped and counted.
        needs_rating: Whether every row must have a rating.

    Raises:
        DataError: The file as a whole cannot be used, or a row cannot and `bad_rows` is `error`.
    """
    required = (USER_ID, ITEM_ID, TIMESTAMP, *((RATING,) if needs_rating else ()))
    table = read_table(path, required, () if needs_rating else (RATING,))
    users, items = parse_ids(table, USER_ID), parse_ids(table, ITEM_ID)
    timestamps = parse_numbers(table, TIMESTAMP)
    check_unit(path, timestamps)
    checks = [*check_ids(users, USER_ID), *check_ids(items, ITEM_ID), *check_timestamps(timestamps)]
    ratings = parse_numbers(table, RATING) if RATING in table.columns.column_names else None
    if ratings:
        checks += _check_ratings(ratings, needs_rating)
    checked = check_rows(table, checks, bad_rows)
    keep = _drop_repeats(checked.keep, users, items, timestamps)
    num_repeats = int(checked.keep.sum() - keep.sum())
    return Interactions(
        users=users.codes[keep],
        items=items.codes[keep],
        timestamps=timestamps.values[keep],
        ratings=ratings.values[keep] if ratings else None,
        user_ids=users.distinct,
        item_ids=items.distinct,
        num_read=table.num_rows,
        excluded=checked.excluded | ({DUPLICATE: num_repeats} if num_repeats else {}),
    )


def check_timestamps(timestamps: Numbers) -> list[RowCheck]:
    """Return what can be wrong with the timestamp of a row."""
    latest = time.time() + CLOCK_TOLERANCE_S
    last_day = time.strftime("%Y-%m-%d", time.gmtime(latest))
    return [
        RowCheck("missing_timestamp", TIMESTAMP, "seconds since 1970-01-01", timestamps.missing),
        RowCheck("invalid_timestamp", TIMESTAMP, "seconds since 1970-01-01 as a number", timestamps.invalid),
        RowCheck("negative_timestamp", TIMESTAMP, "no time before 1970-01-01", timestamps.values < 0),
        RowCheck("future_timestamp", TIMESTAMP, f"no time after {last_day}", timestamps.values > latest),
    ]


def _check_ratings(ratings: Numbers, needs_rating: bool) -> list[RowCheck]:
    missing = ratings.missing & needs_rating
    return [
        RowCheck("missing_rating", RATING, "a number, because min_rating is set", missing),
        RowCheck("invalid_rating", RATING, "a number", ratings.invalid),
    ]


def check_unit(path: Path, timestamps: Numbers) -> None:
    """Raise a `DataError` that names the divisor where timestamps are typically too large to be seconds."""
    values = timestamps.values[~(timestamps.missing | timestamps.invalid)]
    typical = float(np.median(values)) if len(values) else 0.0
    for limit, unit, factor in FINER_UNITS:
        if typical > limit:
            raise DataError(
                f"{path}, column {TIMESTAMP!r}: values such as {typical:.0f} look like {unit}; expected seconds "
                f"since 1970-01-01; divide the column by {factor}"
            )


def _drop_repeats(keep: Bool[np.ndarray, "R"], users: Ids, items: Ids, timestamps: Numbers) -> Bool[np.ndarray, "R"]:
    frame = pd.DataFrame({"user": users.codes, "item": items.codes, "timestamp": timestamps.values})
    keep = keep.copy()
    keep[keep] = ~frame[keep].duplicated().to_numpy()
    return keep
