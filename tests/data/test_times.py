"""Units of times: converted where they are certain, asked where they are not."""

from __future__ import annotations

import doctest
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ur4rec.data import times as times_module
from ur4rec.data.config import DataConfig, TimeUnit
from ur4rec.data.errors import DataError
from ur4rec.data.tables import Table
from ur4rec.data.times import Times, parse_times

START = 1_500_002_719
SECONDS = START + 86_400 * np.arange(40)
DAYS = SECONDS // 86_400


def parse(column: object, unit: TimeUnit = "auto") -> Times:
    return parse_times(Table(Path("plays.parquet"), pa.table({"timestamp": pa.array(column)})), "timestamp", unit)


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        (SECONDS, "seconds"),
        (SECONDS + 0.25, "seconds"),
        (SECONDS * 10**3, "milliseconds"),
        (SECONDS * 10**6, "microseconds"),
        (SECONDS * 10**9, "nanoseconds"),
        (SECONDS * 10**7 + 621_355_968_000_000_000, "dotnet_ticks"),
        ((SECONDS + 11_644_473_600) * 10**7, "windows_ticks"),
        ((SECONDS + 11_644_473_600) * 10**6, "webkit_microseconds"),
        (SECONDS / 86_400 + 25_569, "excel_days"),
        (SECONDS / 86_400, "days"),
        (SECONDS / 86_400 + 2_440_587.5, "julian_days"),
    ],
    ids=[
        *(
            "seconds",
            "fractions",
            "milliseconds",
            "microseconds",
            "nanoseconds",
            "ticks",
            "ticks of Windows",
            "browser",
        ),
        *("spreadsheet", "days", "julian days"),
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_a_certain_unit_is_converted(values: np.ndarray, unit: str, as_text: bool) -> None:
    times = parse([f"{value:.17g}" for value in values.tolist()] if as_text else values)
    assert times.unit == unit
    assert np.allclose(times.seconds.values, SECONDS + (values[0] % 1 if unit == "seconds" else 0), atol=1e-3)
    assert not (times.mixed | times.seconds.invalid | times.seconds.missing).any()


@pytest.mark.parametrize(
    ("values", "unit", "first"),
    [
        ([20170714, 20240229, 20170721], "yyyymmdd", datetime(2017, 7, 14, tzinfo=UTC)),
        ([201404, 199912, 202401], "yyyymm", datetime(2014, 4, 1, tzinfo=UTC)),
        ([201404071051, 201404071052], "yyyymmddhhmm", datetime(2014, 4, 7, 10, 51, tzinfo=UTC)),
        ([20140407105109, 20140407105110], "yyyymmddhhmmss", datetime(2014, 4, 7, 10, 51, 9, tzinfo=UTC)),
    ],
)
def test_digits_of_dates_are_dates(values: list[int], unit: str, first: datetime) -> None:
    for column in (values, [str(value) for value in values], [float(value) for value in values]):
        times = parse(column)
        assert (times.unit, times.seconds.values[0]) == (unit, first.timestamp())


def test_digits_that_are_no_date_are_invalid_among_dates() -> None:
    times = parse([20170714 + day for day in range(17)] + [20170231] + [20170801 + day for day in range(22)])
    assert times.unit == "yyyymmdd"
    assert np.flatnonzero(times.seconds.invalid).tolist() == [17]


@pytest.mark.parametrize("values", [np.arange(40), 7 * np.arange(4000), np.zeros(3), np.arange(40) + 10**8, [5, 5.5]])
def test_positions_and_counts_stay_as_they_are(values: np.ndarray) -> None:
    times = parse(values)
    assert times.unit == "seconds"
    assert times.seconds.values.tolist() == [float(value) for value in values]


@pytest.mark.parametrize(
    ("values", "unit", "date"),
    [
        (DAYS, "days", "2017-07-14"),
        (DAYS + 25_569, "excel_days", "2017-07-14"),
        (SECONDS // 3600, "hours", "2017-07-14"),
        (SECONDS // 60, "minutes", "2017-07-14"),
    ],
    ids=["days", "spreadsheet", "hours", "minutes"],
)
def test_two_readings_are_a_question(values: np.ndarray, unit: TimeUnit, date: str) -> None:
    message = rf"column 'timestamp': values such as {values[0]} have two readings; set time_unit: {unit} where that "
    with pytest.raises(DataError, match=message + rf"is {date}, or time_unit: seconds where it is 1970-"):
        parse(values)
    assert parse(values, "seconds").seconds.values.tolist() == values.tolist()
    assert parse(values, unit).seconds.values[0] // 86_400 == DAYS[0]


def test_a_value_in_another_unit_is_marked() -> None:
    values = SECONDS.copy()
    values[[3, 5, 7, 9, 11]] = SECONDS[3] * 1000, 20170714, DAYS[7], 0, 481_161_600
    assert np.flatnonzero(parse(values).mixed).tolist() == [3, 5, 7]
    values = SECONDS * 1000
    values[[2, 4]] = SECONDS[2], 0
    assert np.flatnonzero(parse(values).mixed).tolist() == [2]


def test_a_part_in_the_future_stays_there() -> None:
    values = SECONDS.copy()
    values[6] = 9_000_000_000
    times = parse(values)
    assert times.seconds.values[6] == 9_000_000_000
    assert not times.mixed.any()
    assert parse(SECONDS * 1000 * 4).unit == "milliseconds"


def test_types_of_parquet_tell_their_unit() -> None:
    times = parse(pa.array(SECONDS).cast(pa.timestamp("s")).cast(pa.timestamp("ns", "Asia/Tokyo")))
    assert (times.unit, times.seconds.values.tolist()) == ("date_type", SECONDS.tolist())
    assert parse(pa.array([17_361], pa.date32())).seconds.values.tolist() == [17_361 * 86_400]


def test_text_of_bytes_and_categories_is_text() -> None:
    for column in (pa.array([b"2017-07-14"]), pa.array(["2017-07-14"]).dictionary_encode()):
        assert parse(column).seconds.values.tolist() == [1_499_990_400]
    assert parse(pa.array([str(START)]).dictionary_encode()).seconds.values.tolist() == [START]


@pytest.mark.parametrize("unit", ["day_first", "month_first"])
def test_an_order_of_day_and_month_is_nothing_for_numbers(unit: TimeUnit) -> None:
    with pytest.raises(DataError, match=f"holds numbers, and time_unit: {unit} is for dates"):
        parse(SECONDS, unit)


def test_a_unit_of_numbers_is_nothing_for_dates() -> None:
    with pytest.raises(DataError, match="holds dates in words, and time_unit: days is for numbers"):
        parse(["2017-07-14"], "days")


def test_the_examples_hold() -> None:
    outcome = doctest.testmod(times_module)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_a_unit_is_named_as_it_is() -> None:
    assert DataConfig.parse({"time_unit": "excel_days"}).time_unit == "excel_days"
