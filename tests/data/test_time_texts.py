"""Dates in text, as published files spell them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ur4rec.data.config import TimeUnit
from ur4rec.data.errors import DataError
from ur4rec.data.tables import Table
from ur4rec.data.times import Times, parse_times


def parse(texts: list[str | None], unit: TimeUnit = "auto") -> Times:
    return parse_times(
        Table(Path("plays.csv"), pa.table({"timestamp": pa.array(texts, pa.string())})), "timestamp", unit
    )


def seconds(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[arg-type,misc]


MOMENT = seconds(2014, 4, 27, 10, 51, 9)
MINUTE = seconds(2014, 4, 27, 10, 51)
DATE = seconds(2014, 4, 27)


@pytest.mark.parametrize(
    ("text", "spelling", "expected"),
    [
        ("2014-04-27T10:51:09Z", "iso_8601", MOMENT),
        ("2014-04-27 10:51:09", "iso_8601", MOMENT),
        (" 2014-04-27 10:51:09 UTC", "iso_8601", MOMENT),
        ("2014-04-27T10:51:09.277", "iso_8601", MOMENT + 0.277),
        ("2014-04-27T10:51:09,5Z", "iso_8601", MOMENT + 0.5),
        ("2014-04-27T10:51:09.123456789Z", "iso_8601", MOMENT + 0.123456),
        ("2014-04-27T12:51:09+02:00", "iso_8601", MOMENT),
        ("2014-04-27T05:21:09-0530", "iso_8601", MOMENT),
        ("2014-04-27T12:51:09+02", "iso_8601", MOMENT),
        ("2014-04-27 10:51", "iso_8601", MINUTE),
        ("2014-04-27 10", "iso_8601", seconds(2014, 4, 27, 10)),
        ("20140427T105109", "iso_8601", MOMENT),
        ("2014-04-27", "iso_8601", DATE),
        ("2014/4/27 10:51", "year_first", MINUTE),
        ("2014-4-27", "year_first", DATE),
        ("2014.04.27 10:51:09", "year_first", MOMENT),
        ("2014年4月27日", "year_first", DATE),
        ("04 27, 2014", "month_first", DATE),
        ("4 27, 2014", "month_first", DATE),
        ("4/27/2014 10:51", "month_first", MINUTE),
        ("4/27/2014 10:51:09 AM", "month_first", MOMENT),
        ("4/26/2014 10:51:09 pm", "month_first", seconds(2014, 4, 26, 22, 51, 9)),
        ("4/27/2014 12:05:00 AM", "month_first", seconds(2014, 4, 27, 0, 5)),
        ("27.04.2014", "day_first", DATE),
        ("27-04-2014 10:51", "day_first", MINUTE),
        ("Sun Apr 27 10:51:09 +0000 2014", "year_last", MOMENT),
        ("Sun Apr 27 03:51:09 -0700 2014", "year_last", MOMENT),
        ("Sun Apr 27 10:51:09 2014", "year_last", MOMENT),
        ("Sun, 27 Apr 2014 10:51:09 GMT", "day_and_named_month", MOMENT),
        ("27 April 2014", "day_and_named_month", DATE),
        ("27-Apr-2014", "day_and_named_month", DATE),
        ("April 27, 2014", "named_month", DATE),
        ("Apr. 27, 2014 10:51 a.m.", "named_month", MINUTE),
    ],
)
def test_a_spelling_of_the_field_is_read(text: str, spelling: str, expected: float) -> None:
    times = parse([text, None, text, ""])
    assert times.unit == spelling
    assert times.seconds.values.tolist() == pytest.approx([expected, 0, expected, 0], abs=2e-6)
    assert times.seconds.missing.tolist() == [False, True, False, True]
    assert not times.seconds.invalid.any()


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("2014-04-27", "2014-02-30"),
        ("2014-04-27T10:51:09Z", "2014-04-27T24:51:09Z"),
        ("2014-04-27", "yesterday"),
        ("2014-04-27", "1500002719"),
        ("4/27/2014", "27/27/2014"),
        ("4/27/2014 10:51", "4/27/2014 10:61"),
        ("Sun Apr 27 10:51:09 +0000 2014", "Sun Foo 27 10:51:09 +0000 2014"),
        ("2014/4/27", "2014/2/29"),
    ],
)
def test_a_text_that_tells_no_date_is_invalid(good: str, bad: str) -> None:
    assert np.flatnonzero(parse([good, good, bad, good]).seconds.invalid).tolist() == [2]


def test_one_day_above_twelve_tells_the_order_of_all() -> None:
    assert parse(["03/04/2015", "13/04/2015"]).seconds.values.tolist() == [seconds(2015, 4, 3), seconds(2015, 4, 13)]
    assert parse(["03/04/2015", "04/13/2015"]).seconds.values.tolist() == [seconds(2015, 3, 4), seconds(2015, 4, 13)]


def test_without_one_the_order_is_asked() -> None:
    texts: list[str | None] = ["03/04/2015", "05/06/2015"]
    with pytest.raises(
        DataError,
        match=r"plays\.csv, column 'timestamp': dates such as '03/04/2015' have two .*; set time_unit: day_first or",
    ):
        parse(texts)
    assert parse(texts, "day_first").seconds.values[0] == seconds(2015, 4, 3)
    assert parse(texts, "month_first").seconds.values[0] == seconds(2015, 3, 4)


def test_words_alone_are_invalid() -> None:
    times = parse(["now", "then"])
    assert times.unit == "no_date"
    assert times.seconds.invalid.all()
