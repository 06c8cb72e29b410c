"""Interactions of any file: who, what, when and, where it is used, the rating."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Bool, Float64, Int64

from ur4rec.columns import EVENT, ITEM_ID, RATING, TIMESTAMP, USER_ID
from ur4rec.data.config import DataConfig
from ur4rec.data.events import Events, read_events
from ur4rec.data.fields import Numbers, RowCheck, check_rows, parse_numbers
from ur4rec.data.ids import Ids, check_ids, parse_ids
from ur4rec.data.tables import ReadOptions, Table, describe, read_table
from ur4rec.data.time_texts import NO_DATE
from ur4rec.data.times import CLOCK_TOLERANCE_S, SECONDS, Times, parse_times, tell_date

DUPLICATE = "duplicate_row"
POSITIONS = "positions"
"""What stands in for times where a file has none."""
OTHER_EVENT = "other_event"
READABLE = {
    SECONDS: "seconds since 1970-01-01 as a number",
    NO_DATE: "seconds since 1970-01-01 as a number, or a date such as 2015-04-30T18:01:02Z",
}
"""What the times were read as → what would have been one."""


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
    """How the file was understood, for the manifest."""


def read_interactions(path: Path, config: DataConfig) -> Interactions:
    """Read who did what, when and, if `min_rating` is set, with which rating.

    Rows with the same user, item and timestamp are one interaction: the first stays, the others are counted.
    The same user and item at another time is another interaction.

    Args:
        path: The file.
        config: What its columns, times and events mean, and whether a malformed row stops the reading or is dropped
            and counted.

    Raises:
        DataError: The file as a whole cannot be used, or a row cannot and `bad_rows` is `error`.
    """
    table = read_table(path, *_choose_roles(config), ReadOptions(config.columns, config.encoding))
    columns = _parse(table, config)
    wanted = columns.events.select(config.events) if columns.events else np.ones(table.columns.num_rows, dtype=bool)
    checks = [replace(check, fails=check.fails & wanted) for check in _list_checks(columns)]
    checked = check_rows(table, checks, config.bad_rows)
    valid = checked.keep & wanted
    keep = _drop_repeats(valid, columns)
    left_out = {OTHER_EVENT: int((~wanted).sum()), DUPLICATE: int(valid.sum() - keep.sum())}
    return Interactions(
        users=columns.users.codes[keep],
        items=columns.items.codes[keep],
        timestamps=columns.times.seconds.values[keep],
        ratings=columns.ratings.values[keep] if columns.ratings else None,
        user_ids=columns.users.distinct,
        item_ids=columns.items.distinct,
        num_read=table.num_rows,
        excluded=checked.excluded | {reason: count for reason, count in left_out.items() if count},
        reading=_describe(table, columns),
    )


@dataclass(frozen=True)
class _Columns:
    """What the columns of a file hold."""

    users: Ids
    items: Ids
    times: Times
    events: Events | None
    ratings: Numbers | None


def _choose_roles(config: DataConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns that must be there, and those that may be."""
    needed = (USER_ID, ITEM_ID, TIMESTAMP, *((RATING,) if _is_rated(config) else ()))
    return ((*needed, EVENT), ()) if config.events else (needed, (EVENT,))


def _is_rated(config: DataConfig) -> bool:
    return config.min_rating is not None and not isinstance(config.events, dict)


def _parse(table: Table, config: DataConfig) -> _Columns:
    events = read_events(table, is_used=bool(config.events))
    ratings = parse_numbers(table, RATING) if _is_rated(config) else None
    if events and isinstance(config.events, dict):
        ratings = events.weigh(config.events)
    return _Columns(
        users=parse_ids(table, USER_ID),
        items=parse_ids(table, ITEM_ID, config.literal_item_ids),
        times=parse_times(table, TIMESTAMP, "seconds" if table.are_positions else config.time_unit),
        events=events,
        ratings=ratings,
    )


def _describe(table: Table, columns: _Columns) -> dict[str, Any]:
    reading = describe(table) | {
        "time_unit": POSITIONS if table.are_positions else columns.times.unit,
        "similar_ids": {USER_ID: columns.users.num_similar, ITEM_ID: columns.items.num_similar},
        "events": columns.events.count() if columns.events else {},
    }
    if not columns.events and EVENT in reading["columns"]:
        reading["unused"].append(reading["columns"].pop(EVENT))
    return reading


def _list_checks(columns: _Columns) -> list[RowCheck]:
    times, ratings = columns.times, columns.ratings
    return [
        *check_ids(columns.users, USER_ID),
        *check_ids(columns.items, ITEM_ID),
        RowCheck("mixed_time_unit", TIMESTAMP, f"{times.unit} as in the other rows", times.mixed),
        *check_timestamps(times.seconds, times.unit),
        *(_check_ratings(ratings) if ratings else ()),
    ]


def check_timestamps(timestamps: Numbers, unit: str = SECONDS) -> list[RowCheck]:
    """Return what can be wrong with the timestamp of a row."""
    latest = time.time() + CLOCK_TOLERANCE_S
    expected = "seconds since 1970-01-01" if unit in (SECONDS, NO_DATE) else f"a time as in the other rows ({unit})"
    readable = READABLE.get(unit, expected)
    return [
        RowCheck("missing_timestamp", TIMESTAMP, expected, timestamps.missing),
        RowCheck("invalid_timestamp", TIMESTAMP, readable, timestamps.invalid),
        RowCheck("negative_timestamp", TIMESTAMP, "no time before 1970-01-01", timestamps.values < 0),
        RowCheck("future_timestamp", TIMESTAMP, f"no time after {tell_date(latest)}", timestamps.values > latest),
    ]


def _check_ratings(ratings: Numbers) -> list[RowCheck]:
    return [
        RowCheck("missing_rating", RATING, "a number, because min_rating is set", ratings.missing),
        RowCheck("invalid_rating", RATING, "a number", ratings.invalid),
    ]


def _drop_repeats(keep: Bool[np.ndarray, "R"], columns: _Columns) -> Bool[np.ndarray, "R"]:
    pairs = columns.users.codes * len(columns.items.distinct) + columns.items.codes
    rows = np.flatnonzero(keep)
    rows = rows[pd.Series(pairs[rows]).duplicated(keep=False).to_numpy()]
    frame = pd.DataFrame({"pair": pairs[rows], "timestamp": columns.times.seconds.values[rows]})
    keep = keep.copy()
    keep[rows] = ~frame.duplicated().to_numpy()
    return keep
