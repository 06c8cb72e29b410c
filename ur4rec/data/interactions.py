"""Interactions of any file: who, what, when and, where it is used, the rating."""

from __future__ import annotations

import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Bool, Float64, Int64

from ur4rec.columns import EVENT, ITEM_ID, RATING, TIMESTAMP, USER_ID
from ur4rec.data.config import DataConfig
from ur4rec.data.errors import DataError
from ur4rec.data.events import Events
from ur4rec.data.fields import Numbers, RowCheck, check_rows, parse_numbers
from ur4rec.data.ids import Ids, check_ids, parse_ids
from ur4rec.data.tables import ReadOptions, Table, describe, read_table
from ur4rec.data.times import CLOCK_TOLERANCE_S, SECONDS, parse_times, tell_date

DUPLICATE = "duplicate_row"
POSITIONS = "positions"
"""What stands in for times where a file has none."""
OTHER_EVENT = "other_event"


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
    is_rated = config.min_rating is not None and not isinstance(config.events, dict)
    required = (USER_ID, ITEM_ID, TIMESTAMP, *((RATING,) if is_rated else ()), *((EVENT,) if config.events else ()))
    table = read_table(path, required, () if config.events else (EVENT,), ReadOptions(config.columns, config.encoding))
    users, items = parse_ids(table, USER_ID), parse_ids(table, ITEM_ID, config.literal_item_ids)
    times = parse_times(table, TIMESTAMP, "seconds" if table.are_positions else config.time_unit)
    events = _read_events(table, config)
    wanted = _select_events(table, events, config)
    checks = [*check_ids(users, USER_ID), *check_ids(items, ITEM_ID)]
    checks.append(RowCheck("mixed_time_unit", TIMESTAMP, f"{times.unit} as in the other rows", times.mixed))
    checks += check_timestamps(times.seconds, times.unit)
    ratings = parse_numbers(table, RATING) if is_rated else None
    if ratings:
        checks += _check_ratings(ratings)
    checked = check_rows(table, [replace(check, fails=check.fails & wanted) for check in checks], config.bad_rows)
    valid = checked.keep & wanted
    keep = _drop_repeats(valid, users, items, times.seconds)
    left_out = {OTHER_EVENT: int((~wanted).sum()), DUPLICATE: int(valid.sum() - keep.sum())}
    return Interactions(
        users=users.codes[keep],
        items=items.codes[keep],
        timestamps=times.seconds.values[keep],
        ratings=_rate(ratings, events, config)[keep] if config.min_rating is not None else None,
        user_ids=users.distinct,
        item_ids=items.distinct,
        num_read=table.num_rows,
        excluded=checked.excluded | {reason: count for reason, count in left_out.items() if count},
        reading=describe(table)
        | {
            "time_unit": POSITIONS if table.are_positions else times.unit,
            "similar_ids": {USER_ID: users.num_similar, ITEM_ID: items.num_similar},
            "events": events.count() if events else {},
        },
    )


def _read_events(table: Table, config: DataConfig) -> Events | None:
    with nullcontext() if config.events else suppress(DataError):  # an unused column makes no file bad
        return Events(table) if EVENT in table.columns.column_names else None
    return None


def _select_events(table: Table, events: Events | None, config: DataConfig) -> Bool[np.ndarray, "R"]:
    if events and config.events:
        return events.select(list(config.events))
    return np.ones(table.columns.num_rows, dtype=bool)


def _rate(ratings: Numbers | None, events: Events | None, config: DataConfig) -> Float64[np.ndarray, "R"]:
    if ratings:
        return ratings.values
    assert events is not None
    assert isinstance(config.events, dict)
    return events.weigh(config.events)


def check_timestamps(timestamps: Numbers, unit: str = SECONDS) -> list[RowCheck]:
    """Return what can be wrong with the timestamp of a row."""
    latest = time.time() + CLOCK_TOLERANCE_S
    expected = "seconds since 1970-01-01" if unit == SECONDS else f"a time as in the other rows ({unit})"
    as_number = f"{expected} as a number" if unit == SECONDS else expected
    return [
        RowCheck("missing_timestamp", TIMESTAMP, expected, timestamps.missing),
        RowCheck("invalid_timestamp", TIMESTAMP, as_number, timestamps.invalid),
        RowCheck("negative_timestamp", TIMESTAMP, "no time before 1970-01-01", timestamps.values < 0),
        RowCheck("future_timestamp", TIMESTAMP, f"no time after {tell_date(latest)}", timestamps.values > latest),
    ]


def _check_ratings(ratings: Numbers) -> list[RowCheck]:
    return [
        RowCheck("missing_rating", RATING, "a number, because min_rating is set", ratings.missing),
        RowCheck("invalid_rating", RATING, "a number", ratings.invalid),
    ]


def _drop_repeats(keep: Bool[np.ndarray, "R"], users: Ids, items: Ids, timestamps: Numbers) -> Bool[np.ndarray, "R"]:
    frame = pd.DataFrame({"user": users.codes, "item": items.codes, "timestamp": timestamps.values})
    keep = keep.copy()
    keep[keep] = ~frame[keep].duplicated().to_numpy()
    return keep
