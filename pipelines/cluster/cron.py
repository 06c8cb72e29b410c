"""The cron dialect of Kubeflow Pipelines: six fields, seconds first.

It is that of the Go library robfig/cron 1.2, which the scheduler uses. The sixth field is optional there: the five
fields of everyone else's cron are accepted and mean something else, so they are refused here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

from pipelines.cluster.failures import ClusterError

HORIZON_DAYS = 5 * 366
"""The scheduler does not look further."""


@dataclass(frozen=True)
class Field:
    """One of the six."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    """In place of numbers, from `low`."""


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


class CronError(ClusterError):
    """An expression that the scheduler refuses, or takes for something else than was meant."""


@dataclass(frozen=True)
class Cron:
    """A parsed expression.

    Args:
        text: As the server gets it.
        allowed: Values of each of the six fields.
        either_day: A day need only fit the day of the month or that of the week: neither of them is open.
    """

    text: str
    allowed: tuple[frozenset[int], ...]
    either_day: bool

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Reads an expression, or a shorthand such as `@daily`.

        >>> Cron.parse("0 30 3 * * mon-fri").text
        '0 30 3 * * mon-fri'

        Raises:
            CronError: It has not six fields, or one is wrong; names the field and what was expected.
        """
        fields = SHORTHANDS.get(text.strip(), text).split()
        _check_form(text, fields)
        cron = cls(
            text=" ".join(fields),
            allowed=tuple(_parse_field(text, kind, part) for kind, part in zip(FIELDS, fields, strict=True)),
            either_day=not any(open_sign in fields[day] for day in (3, 5) for open_sign in "*?"),
        )
        if cron.next_after(datetime.now(UTC)) is None:
            raise CronError(f"--cron {text!r}: no such day comes within five years")
        return cron

    def next_after(self, moment: datetime, zone: ZoneInfo | None = None) -> datetime | None:
        """The first tick later than a moment.

        Args:
            moment: With a time zone.
            zone: In which the fields are meant; None for UTC.

        Returns:
            In UTC; None where there is none within five years.
        """
        start = moment.astimezone(zone or UTC).replace(tzinfo=None, microsecond=0) + timedelta(seconds=1)
        for days in range(HORIZON_DAYS):
            date = start.date() + timedelta(days=days)
            if date.month not in self.allowed[4] or not self._fits(date.day, date.isoweekday() % 7):
                continue
            for hour, minute, second in product(*(sorted(self.allowed[place]) for place in (2, 1, 0))):
                wall = datetime(date.year, date.month, date.day, hour, minute, second)
                if wall >= start and (tick := _locate(wall, zone)):
                    return tick
        return None

    def _fits(self, day: int, weekday: int) -> bool:
        fits = (day in self.allowed[3], weekday in self.allowed[5])
        return any(fits) if self.either_day else all(fits)


def _locate(wall: datetime, zone: ZoneInfo | None) -> datetime | None:
    """The moment of a clock's time; None where the clock leaps over it."""
    tick = wall.replace(tzinfo=zone or UTC).astimezone(UTC)
    return tick if tick.astimezone(zone or UTC).replace(tzinfo=None) == wall else None


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


def _parse_field(text: str, field: Field, part: str) -> frozenset[int]:
    values: set[int] = set()
    for piece in part.split(","):
        match = RANGE.fullmatch(piece.lower())
        bounds = _read_bounds(field, match) if match else None
        if bounds is None:
            raise CronError(f"--cron {text!r}: {field.name} {piece!r}: expected {_describe(field)}")
        values.update(range(*bounds))
    return frozenset(values)


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
