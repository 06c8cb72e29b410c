from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from kfp_server_api import V2beta1CronSchedule, V2beta1Trigger

from pipelines.cluster.triggers import (
    Cron,
    CronError,
    ScheduleError,
    Trigger,
    describe_trigger,
    format_interval,
    format_time,
    read_trigger,
    read_zone,
    trigger_of,
)

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
ZERO = datetime(1970, 1, 1, tzinfo=UTC)
SATURDAY = datetime(2026, 11, 28, 15, 4, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [("90", 90, "90s"), ("90m", 5400, "90m"), ("6 h", 21600, "6h"), ("24h", 86400, "1d"), ("2w", 1209600, "2w")],
)
def test_intervals(text: str, seconds: int, shown: str) -> None:
    trigger = read_trigger(None, text)
    assert trigger.interval_s == seconds
    assert format_interval(seconds) == shown


@pytest.mark.parametrize("text", ["", "0", "0h", "-1h", "1.5h", "1y"])
def test_no_intervals(text: str) -> None:
    with pytest.raises(ScheduleError, match="expected a number with s, m, h, d or w"):
        read_trigger(None, text)


def test_an_interval_is_counted_from_its_anchor() -> None:
    trigger = Trigger(interval_s=3600)
    anchor = NOON - timedelta(minutes=90)
    assert trigger.next_after(NOON, anchor) == NOON + timedelta(minutes=30)
    assert trigger.next_after(anchor, anchor) == NOON - timedelta(minutes=30)
    assert trigger.next_after(anchor - timedelta(days=1), anchor) == NOON - timedelta(minutes=30)


def test_ticks_lie_between_start_and_end() -> None:
    trigger = Trigger(interval_s=3600, start=NOON, end=NOON + timedelta(hours=1))
    assert trigger.next_after(NOON - timedelta(days=1), NOON) == NOON + timedelta(hours=1)
    assert trigger.next_after(NOON + timedelta(hours=1), NOON) is None


def test_there_and_back_again() -> None:
    for trigger in (read_trigger("0 0 3 * * *", None), Trigger(interval_s=60, start=NOON)):
        assert trigger_of(trigger.to_request()) == trigger


def test_a_zero_of_the_server_is_no_time() -> None:
    answer = V2beta1Trigger(cron_schedule=V2beta1CronSchedule(cron="0 0 3 * * *", start_time=ZERO, end_time=ZERO))
    assert trigger_of(answer) == read_trigger("0 0 3 * * *", None)
    assert trigger_of(None) is None
    assert describe_trigger(V2beta1Trigger(cron_schedule=V2beta1CronSchedule(cron="@every 1h"))) == "cron @every 1h"


def test_times_are_shown_in_both_zones() -> None:
    assert format_time(NOON) == format_time(NOON, ZoneInfo("UTC")) == "2027-01-15 12:00:00 UTC"
    assert format_time(NOON, read_zone("Europe/Berlin")) == "2027-01-15 13:00:00 CET (2027-01-15 12:00:00 UTC)"
    assert format_time(None) == "–"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0 3 * * *", "2026-11-29T03:00:00"),
        ("@daily", "2026-11-29T00:00:00"),
        ("@hourly", "2026-11-28T16:00:00"),
        ("0 */15 * * * *", "2026-11-28T15:15:00"),
        ("30 4 15 * * *", "2026-11-29T15:04:30"),
        ("31 4 15 * * *", "2026-11-28T15:04:31"),
        ("*/10 * * * * *", "2026-11-28T15:04:40"),
        ("0 5/20 * * * *", "2026-11-28T15:05:00"),
        ("0 0 9 ? * mon-fri", "2026-11-30T09:00:00"),
        ("0 0 9 * * 0,6", "2026-11-29T09:00:00"),
        ("0 0 3 1 * MON", "2026-11-30T03:00:00"),  # the first, or a Monday
        ("0 0 3 29 2 *", "2028-02-29T03:00:00"),
        ("0 0 0 1 jan *", "2027-01-01T00:00:00"),
        ("0 0 0 11-11/2 * *", "2026-12-11T00:00:00"),  # no step leads out of a range
        ("0 0 0 * * 6/1", "2026-12-05T00:00:00"),  # there is no seventh weekday, which would be a Sunday
        ("0 0 0 1,*/2 * mon", "2026-12-07T00:00:00"),  # open, wherever its star stands: both have to fit
        ("0 0 0 ? * 1,*", "2026-11-29T00:00:00"),
    ],
)
def test_the_next_tick(text: str, expected: str) -> None:
    tick = Cron.parse(text).next_after(SATURDAY)
    assert tick == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_a_tick_follows_on_itself() -> None:
    cron = Cron.parse("0 0 3 * * *")
    first = cron.next_after(SATURDAY)
    assert first
    second = cron.next_after(first)
    assert second
    assert (second - first).total_seconds() == 24 * 3600


def test_fields_are_read_in_the_servers_time_zone() -> None:
    nightly = Cron.parse("0 30 2 * * *")
    assert nightly.next_after(SATURDAY, BERLIN) == datetime(2026, 11, 29, 1, 30, tzinfo=UTC)
    before_the_leap = datetime(2026, 3, 28, 12, tzinfo=UTC)  # on the 29th, 2:30 is leapt over
    assert nightly.next_after(before_the_leap, BERLIN) == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)


def test_no_tick_is_sought_for_longer_than_five_years() -> None:
    text = "0 0 3 29 2 */6"  # a leap day at a weekend
    cron = Cron.of_fields(text, text.split())
    assert cron.next_after(SATURDAY) is None
    assert cron.next_after(datetime(2028, 3, 1, tzinfo=UTC)) == datetime(2032, 2, 29, 3, tzinfo=UTC)


def test_a_clock_that_is_set_back_passes_a_time_twice_and_a_tick_is_never_early() -> None:
    nightly = Cron.parse("0 30 2 * * *")
    moments = [datetime(2026, 10, 25, tzinfo=UTC)]
    while moments[-1].day < 26:
        tick = nightly.next_after(moments[-1], BERLIN)
        assert tick
        assert tick > moments[-1]
        moments.append(tick)
    assert [(tick.day, tick.hour) for tick in moments[1:]] == [(25, 0), (25, 1), (26, 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 3 * * *", r"five fields .* did you mean '0 0 3 \* \* \*'"),
        ("30 9 * * 1-5", r"did you mean '0 30 9 \* \* 1-5'"),
        ("", "expected six fields"),
        ("0 0 3 * * * 2026", "expected six fields"),
        ("@reboot", "expected six fields"),
        ("CRON_TZ=Europe/Berlin 0 0 3 * * *", "no time zone of its own"),
        ("60 0 3 * * *", "second '60': expected 0–59"),
        ("0 0 24 * * *", "hour '24': expected 0–23"),
        ("0 0 3 0 * *", "day of month '0': expected 1–31"),
        ("0 0 3 * 13 *", "month '13': expected 1–12 or jan–dec"),
        ("0 0 3 * * 7", "day of week '7': expected 0–6 or sun–sat"),
        ("0 0 3 L * *", "day of month 'L'"),
        ("0 0 5-3 * * *", "hour '5-3'"),
        ("0 */0 * * * *", r"minute '\*/0'"),
        ("0 0 3 30 2 *", "no such day comes within five years"),
    ],
)
def test_what_the_scheduler_would_not_take_as_meant(text: str, message: str) -> None:
    with pytest.raises(CronError, match=message):
        Cron.parse(text)
