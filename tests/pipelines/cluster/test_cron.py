from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from pipelines.cluster.cron import Cron, CronError

SATURDAY = datetime(2026, 11, 28, 15, 4, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


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
