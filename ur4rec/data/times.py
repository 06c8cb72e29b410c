"""When something happened: one decision for a whole column, from its values, whatever unit or spelling they have.

Letters: R rows.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float64

from ur4rec.data.config import TimeUnit
from ur4rec.data.errors import DataError
from ur4rec.data.fields import Numbers, is_numeric_text, is_text, parse_numbers, unpack
from ur4rec.data.tables import Table
from ur4rec.data.time_texts import DAY_S, ORDERS, count_days, read_texts

SECONDS = "seconds"
CLOCK_TOLERANCE_S = DAY_S
EARLIEST_S = 631_152_000
"""1990-01-01; nobody logged interactions before."""
SCALES: dict[str, tuple[float, int]] = {
    "seconds": (1, 0),
    "milliseconds": (1e-3, 0),
    "microseconds": (1e-6, 0),
    "dotnet_ticks": (1e-7, -62_135_596_800),
    "nanoseconds": (1e-9, 0),
    "windows_ticks": (1e-7, -11_644_473_600),
    "webkit_microseconds": (1e-6, -11_644_473_600),
    "excel_days": (DAY_S, -25_569 * DAY_S),
    "days": (DAY_S, 0),
    "julian_days": (DAY_S, -210_866_760_000),
    "hours": (3600, 0),
    "minutes": (60, 0),
}
"""Unit → seconds in one, and the second since 1970 at which it counts 0. The first of two that fit is meant."""
CALENDARS: dict[str, tuple[int, int]] = {
    "yyyymm": (10**8, 10**6),
    "yyyymmdd": (10**6, 0),
    "yyyymmddhhmm": (10**2, 0),
    "yyyymmddhhmmss": (1, 0),
}
"""Digits of a date → factor and summand that make them `yyyymmddhhmmss`."""
CERTAIN = tuple(unit for unit, (factor, _) in SCALES.items() if factor <= 1)
COUNTS = tuple(unit for unit, (factor, _) in SCALES.items() if factor > 1)
"""Units whose numbers may as well be positions or other counts, if they are whole."""
FINER = ((1e17, "nanoseconds"), (1e14, "microseconds"), (1e11, "milliseconds"))
"""Typical value above which times are told in a unit, whenever that is: 1e11 is the year 5138 in seconds."""
NEARLY_ALL = 0.95
MOST_SAMPLED = 10_000


@dataclass(frozen=True)
class Times:
    """A column of times."""

    seconds: Numbers
    """Since 1970-01-01, with fractions."""
    unit: str
    """What the column was read as."""
    mixed: Bool[np.ndarray, "R"]
    """In another unit than the others."""


def parse_times(table: Table, name: str, unit: TimeUnit = "auto") -> Times:
    """Read times: numbers of a unit, digits of dates, texts that tell a date, or Parquet's own types.

    Args:
        table: Holds the column.
        name: The column.
        unit: What the values are, as the user says.

    Raises:
        DataError: The values have two readings, or are not what the user says.
    """
    column, where = unpack(table, name), f"{table.path}, {table.name(name)}"
    nothing = np.zeros(len(column), dtype=bool)
    if is_text(column.type) and not is_numeric_text(column):
        if unit not in ("auto", *ORDERS):
            raise DataError(f"{where}: holds dates in words, and time_unit: {unit} is for numbers; leave it at auto")
        seconds, spelling = read_texts(column, unit, where)
        return Times(seconds, spelling, nothing)
    numbers = parse_numbers(table, name)
    if pa.types.is_temporal(column.type):
        return Times(numbers, "date_type", nothing)
    return convert(numbers, unit, where)


def convert(numbers: Numbers, unit: TimeUnit, where: str) -> Times:
    """Return numbers of a unit as seconds.

    Raises:
        DataError: The unit is `auto` and the values have two readings, or the unit is not one of numbers.
    """
    if unit in ORDERS:
        raise DataError(f"{where}: holds numbers, and time_unit: {unit} is for dates such as 03/04/2015")
    known = ~(numbers.missing | numbers.invalid)
    chosen = recognise(numbers.values[known], where) if unit == "auto" else unit
    read = numbers if chosen == SECONDS else _convert(numbers, known, chosen)
    could_mix = unit == "auto" and chosen in SCALES
    return Times(read, chosen, _find_mixed(numbers.values, read, known) if could_mix else np.zeros_like(known))


def _convert(numbers: Numbers, known: Bool[np.ndarray, "R"], unit: str) -> Numbers:
    seconds = to_seconds(numbers.values, unit)
    is_date = np.isfinite(seconds)
    return Numbers(np.where(is_date & known, seconds, 0.0), numbers.missing, numbers.invalid | (known & ~is_date))


def recognise(values: Float64[np.ndarray, "R"], where: str) -> str:
    """Return the unit that puts the values between 1990 and now; `seconds` also where none does and they are small.

    Raises:
        DataError: They may be days, hours or minutes, or as well counts; names both and the setting that chooses.
    """
    sample = values[:: max(1, len(values) // MOST_SAMPLED)]
    if not len(sample):
        return SECONDS
    for calendar in CALENDARS:
        if np.isfinite(to_seconds(sample, calendar)).mean() >= NEARLY_ALL:
            return calendar
    shares = {unit: _is_likely(to_seconds(sample, unit)).mean() for unit in SCALES}
    certain = max(CERTAIN, key=shares.__getitem__)
    if shares[certain] >= 0.5:
        return certain
    count = max(COUNTS, key=shares.__getitem__)
    if shares[count] >= NEARLY_ALL:
        if (sample != np.floor(sample)).mean() < 0.5:
            raise DataError(_ask(where, float(sample[0]), count))
        return count
    return name_magnitude(sample)


def name_magnitude(values: Float64[np.ndarray, "R"]) -> str:
    """Return the unit that the size of the values speaks for, whether or not they are times of our days.

    >>> name_magnitude(np.array([8e11, 9e11])), name_magnitude(np.array([0.0, 1.0]))
    ('milliseconds', 'seconds')
    """
    typical = float(np.median(values)) if len(values) else 0.0
    return next((unit for limit, unit in FINER if typical > limit), SECONDS)


def to_seconds(values: Float64[np.ndarray, "R"], unit: str) -> Float64[np.ndarray, "R"]:
    """Return seconds since 1970-01-01; not a number where digits are no date.

    >>> to_seconds(np.array([20240229.0, 20230229.0]), "yyyymmdd").tolist()
    [1709164800.0, nan]
    """
    if unit in CALENDARS:
        multiple, summand = CALENDARS[unit]
        return _read_digits(values * multiple + summand)
    factor, start = SCALES[unit]
    return (values * factor if factor >= 1 else values / round(1 / factor)) + start


def tell_date(seconds: float) -> str:
    """Return the day, for messages."""
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _is_likely(seconds: Float64[np.ndarray, "R"]) -> Bool[np.ndarray, "R"]:
    return np.asarray((seconds >= EARLIEST_S) & (seconds <= time.time() + CLOCK_TOLERANCE_S))


def _find_mixed(values: Float64[np.ndarray, "R"], read: Numbers, known: Bool[np.ndarray, "R"]) -> Bool[np.ndarray, "R"]:
    """Mark values that are unlikely in the unit in which most are likely, and likely in another one."""
    likely = _is_likely(read.values)
    odd = np.flatnonzero(known & ~likely)
    mixed = np.zeros_like(known)
    if likely.sum() > len(odd) > 0:
        readings = [_is_likely(to_seconds(values[odd], unit)) for unit in (*SCALES, *CALENDARS)]
        mixed[odd] = np.logical_or.reduce(readings)
    return mixed


def _ask(where: str, value: float, unit: str) -> str:
    date = tell_date(float(to_seconds(np.array([value]), unit)[0]))
    return (
        f"{where}: values such as {value:.15g} have two readings; set time_unit: {unit} where that is {date}, or "
        f"time_unit: seconds where it is {tell_date(value)}, or a position or other count that only tells the order"
    )


def _read_digits(digits: Float64[np.ndarray, "R"]) -> Float64[np.ndarray, "R"]:
    """Read `yyyymmddhhmmss`."""
    fits = (digits == np.floor(digits)) & (digits >= 19_000_101e6) & (digits < 21_010_101e6)
    date, clock = np.divmod(np.where(fits, digits, 0).astype(np.int64), 10**6)
    days = count_days(date // 10_000, date // 100 % 100, date % 100)
    hours, minutes, seconds = clock // 10_000, clock // 100 % 100, clock % 100
    exists = fits & (hours < 24) & (minutes < 60) & (seconds < 60)
    return np.where(exists, days * DAY_S + hours * 3600 + minutes * 60 + seconds, np.nan)
