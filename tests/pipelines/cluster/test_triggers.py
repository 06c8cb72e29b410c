from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from kfp_server_api import V2beta1CronSchedule, V2beta1Trigger

from pipelines.cluster.triggers import (
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
