"""When a schedule starts runs: at intervals, or by a cron expression in the dialect of Kubeflow Pipelines.

The dialect is that of the Go library robfig/cron 1.2, which the scheduler uses: six fields, seconds first. The sixth
is optional there: the five fields of everyone else's cron are accepted and mean something else, so they are refused
here.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from kfp_server_api import V2beta1CronSchedule, V2beta1PeriodicSchedule, V2beta1Trigger

from pipelines.cluster.connection import as_known
from pipelines.cluster.failures import ClusterError

UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
INTERVAL = re.compile(r"(\d+)\s*([smhdw]?)")
MAX_CONCURRENCY = 10
HORIZON = timedelta(days=5 * 366)
"""The scheduler does not look further."""


class Field(NamedTuple):
    """One of the six."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    """Names that may stand for the numbers from `low` on."""


MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS = (
    Field("second", 0, 59),
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day of month", 1, 31),
    Field("month", 1, 12, MONTHS),
    Field("day of week", 0, 6, WEEKDAYS),
)
SHORTHANDS = {
    "@yearly": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
RANGE = re.compile(r"(?P<low>\*|\?|\w+)(?:-(?P<high>\w+))?(?:/(?P<step>\d+))?")


class ScheduleError(ClusterError):
    """A schedule that cannot be as asked for; says what was expected."""


class CronError(ClusterError):
    """An expression that the scheduler refuses, or takes for something else than was meant."""


@dataclass(frozen=True)
class Cron:
    """A parsed expression.

    Args:
        text: As the server gets it.
        values: The same for cronsim, every value of every field spelt out.
    """

    text: str
    values: str

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Read an expression, or a shorthand such as `@daily`.

        >>> Cron.parse("0 30 3 * * mon-fri").text
        '0 30 3 * * mon-fri'

        Raises:
            CronError: It has not six fields, or one is wrong; names the field and what was expected.
        """
        fields = SHORTHANDS.get(text.strip(), text).split()
        _check_form(text, fields)
        cron = cls.of_fields(text, fields)
        if cron.next_after(datetime.now(UTC)) is None:
            raise CronError(f"--cron {text!r}: no such day comes within five years")
        return cron

    @classmethod
    def of_fields(cls, text: str, fields: list[str]) -> Cron:
        """Read six fields.

        Raises:
            CronError: One is wrong.
        """
        values = [_spell_out(text, kind, part) for kind, part in zip(FIELDS, fields, strict=True)]
        return cls(text=" ".join(fields), values=" ".join(values))

    def next_after(self, moment: datetime, zone: ZoneInfo | None = None) -> datetime | None:
        """Return the first tick later than a moment.

        Args:
            moment: With a time zone.
            zone: In which the fields are meant; None for UTC.

        Returns:
            In UTC; None where there is none within five years.
        """
        try:
            tick = next(CronSim(self.values, moment.astimezone(zone or UTC)), None)
        except CronSimError:  # a day that none of the months has
            return None
        return tick.astimezone(UTC) if tick and tick - moment < HORIZON else None


@dataclass(frozen=True)
class Trigger:
    """Ticks by a cron expression, or every so many seconds.

    Args:
        cron: The expression; None with an interval.
        interval_s: Seconds between ticks; None with an expression.
        start: Ticks later than this moment count.
        end: Ticks up to this moment count.
    """

    cron: Cron | None = None
    interval_s: int | None = None
    start: datetime | None = None
    end: datetime | None = None

    @property
    def rule(self) -> tuple[str | None, int | None]:
        """What the ticks follow from, but for the start."""
        return (self.cron.text if self.cron else None, self.interval_s)

    def next_after(self, moment: datetime, anchor: datetime, zone: ZoneInfo | None = None) -> datetime | None:
        """Return the first tick later than a moment.

        Args:
            moment: With a time zone.
            anchor: Intervals are counted from here: the last tick, or the beginning of the schedule.
            zone: The server's.

        Returns:
            In UTC; None where there is none.
        """
        after = max(moment, self.start) if self.start else moment
        if self.cron:
            tick = self.cron.next_after(after, zone)
        else:
            assert self.interval_s
            passed = max(0, (after - anchor) // timedelta(seconds=self.interval_s))
            tick = anchor + timedelta(seconds=self.interval_s) * (passed + 1)
        return None if tick is None or (self.end and tick > self.end) else tick

    def resume_point(self, moment: datetime, anchor: datetime) -> datetime:
        """Return a start from which the ticks are those later than a moment; intervals keep their beat."""
        if self.interval_s is None:
            return moment.replace(microsecond=0)
        beat = timedelta(seconds=self.interval_s)
        return anchor + beat * max(0, (moment - anchor) // beat)

    def to_request(self) -> V2beta1Trigger:
        """Return the trigger as the server takes it."""
        if self.cron:
            schedule = V2beta1CronSchedule(cron=self.cron.text, start_time=self.start, end_time=self.end)
            return V2beta1Trigger(cron_schedule=schedule)
        periodic = V2beta1PeriodicSchedule(
            interval_second=str(self.interval_s), start_time=self.start, end_time=self.end
        )
        return V2beta1Trigger(periodic_schedule=periodic)

    def describe(self) -> str:
        """Return the trigger in words."""
        return f"cron {self.cron.text}" if self.cron else f"every {format_interval(self.interval_s or 0)}"


def read_moment(option: str, text: str | None, zone: ZoneInfo) -> datetime | None:
    """Return the moment that an option names, in UTC; one without a time zone is meant in the given one.

    Raises:
        ScheduleError: It cannot be read.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ScheduleError(f"{option} {text}: expected a time such as 2027-01-31 or 2027-01-31T18:00") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def limit_trigger(trigger: Trigger, start: datetime | None, end: datetime | None, zone: ZoneInfo) -> Trigger:
    """Return a trigger whose ticks lie between two moments; None: it stays open on that side.

    Raises:
        ScheduleError: There would be none.
    """
    limited = replace(trigger, start=start, end=end)
    begin = max(start or datetime.now(UTC), datetime.now(UTC))
    if end and limited.next_after(begin, start or begin, zone) is None:
        raise ScheduleError(f"--end {format_time(end)}: no run would start before it; choose a later one")
    return limited


def read_trigger(cron: str | None, every: str | None) -> Trigger:
    """Return the trigger that options name.

    Raises:
        ScheduleError: Neither or both are given, or the interval cannot be read.
        CronError: The expression is wrong.
    """
    if (cron is None) == (every is None):
        raise ScheduleError("expected either --cron '0 0 3 * * *' or --every 1d")
    return Trigger(cron=Cron.parse(cron)) if cron is not None else Trigger(interval_s=_parse_interval(every or ""))


def trigger_of(answer: V2beta1Trigger | None) -> Trigger | None:
    """Return the trigger of a schedule of the server; None where its expression is one that is refused here."""
    schedule = (answer.cron_schedule or answer.periodic_schedule) if answer else None
    if schedule is None:
        return None
    start, end = as_known(schedule.start_time), as_known(schedule.end_time)
    if isinstance(schedule, V2beta1PeriodicSchedule):
        return Trigger(interval_s=int(schedule.interval_second), start=start, end=end)
    try:
        return Trigger(cron=Cron.parse(schedule.cron), start=start, end=end)
    except ClusterError:
        return None


def describe_trigger(answer: V2beta1Trigger | None) -> str:
    """Return the trigger in words, also where it is one of those that are refused here."""
    trigger = trigger_of(answer)
    if trigger:
        return trigger.describe()
    text = answer.cron_schedule.cron if answer and answer.cron_schedule else ""
    return f"cron {text} (not six fields: probably shifted)" if len(text.split()) == 5 else f"cron {text}"


def read_zone(name: str) -> ZoneInfo:
    """Return a time zone by its name.

    Raises:
        ScheduleError: There is none of that name; names the nearest.
    """
    known = available_timezones()
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise ScheduleError(f"--time-zone {name}: no such time zone, did you mean {nearest}?")
    return ZoneInfo(name)


def check_concurrency(value: int) -> int:
    """Return how many runs of a schedule may be under way at once, checked.

    Raises:
        ScheduleError: The server would not take it.
    """
    if not 1 <= value <= MAX_CONCURRENCY:
        raise ScheduleError(f"--max-concurrency {value}: expected 1 to {MAX_CONCURRENCY}")
    return value


def format_interval(seconds: int) -> str:
    """Return an interval in the largest unit that divides it.

    >>> format_interval(5400)
    '90m'
    """
    unit = max((unit for unit in UNITS_S if unit and seconds % UNITS_S[unit] == 0), key=lambda unit: UNITS_S[unit])
    return f"{seconds // UNITS_S[unit]}{unit}"


def format_time(moment: datetime | None, zone: ZoneInfo | None = None) -> str:
    """Return a time in UTC, and in the zone where it is another one."""
    if moment is None:
        return "–"
    text = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if zone is None or zone.key == "UTC":
        return text
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S %Z} ({text})"


def _parse_interval(text: str) -> int:
    match = INTERVAL.fullmatch(text.strip())
    seconds = int(match[1]) * UNITS_S[match[2]] if match else 0
    if seconds < 1:
        raise ScheduleError(f"--every {text}: expected a number with s, m, h, d or w, such as 6h")
    return seconds


def _check_form(text: str, fields: list[str]) -> None:
    if fields and fields[0].upper().startswith(("CRON_TZ=", "TZ=")):
        raise CronError(
            f"--cron {text!r}: a schedule has no time zone of its own; the server knows one for all, see --time-zone"
        )
    if len(fields) == 5:
        raise CronError(
            f"--cron {text!r}: five fields would be shifted by one (seconds come first); did you mean "
            f"'0 {' '.join(fields)}'?"
        )
    if len(fields) != len(FIELDS):
        names = ", ".join(field.name for field in FIELDS)
        raise CronError(
            f"--cron {text!r}: expected six fields ({names}), such as '0 0 3 * * *', or one of {', '.join(SHORTHANDS)}"
        )


def _spell_out(text: str, field: Field, part: str) -> str:
    """Spell out every value of a field; an open one begins with a star, for cronsim to want both kinds of days."""
    values: set[int] = set()
    for piece in part.split(","):
        match = RANGE.fullmatch(piece.lower())
        bounds = _read_bounds(field, match) if match else None
        if bounds is None:
            raise CronError(f"--cron {text!r}: {field.name} {piece!r}: expected {_describe(field)}")
        values.update(range(*bounds))
    star = "*/99," if set(part) & set("*?") else ""  # stands for the lowest value, which every open field has
    return star + ",".join(map(str, sorted(values)))


def _read_bounds(field: Field, match: re.Match[str]) -> tuple[int, int, int] | None:
    """First value, the one after the last, and the step; None where they cannot be."""
    step = int(match["step"] or 1)
    if match["low"] in "*?":
        low, high = field.low, field.high
    else:
        low = _read_value(field, match["low"])
        last = field.high if match["step"] else low  # 5/15 is 5-59/15
        high = _read_value(field, match["high"]) if match["high"] else last
    return (low, high + 1, step) if step and field.low <= low <= high <= field.high else None


def _read_value(field: Field, text: str) -> int:
    if text in field.names:
        return field.low + field.names.index(text)
    return int(text) if text.isdecimal() else -1


def _describe(field: Field) -> str:
    names = f" or {field.names[0]}–{field.names[-1]}" if field.names else ""
    return f"{field.low}–{field.high}{names}, *, a range such as {field.low}-{field.high}, or steps such as */2"
