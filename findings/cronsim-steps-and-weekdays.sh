#!/usr/bin/env bash
# cronsim 2.8: a step behind a range of one value runs to the end of the field, and so does one behind a weekday.
#
# Of a range the step stays inside, so `11-13/2` means 11 and 13; but `11-11/2` is read as `11/2` and means 11, 13, 15
# and so on. `5/2` as a weekday runs over 5 and 7, and 7 is Sunday, so it means Friday and Sunday. A day-of-month field
# such as `1,*` does not count as open, for only a field that begins with `*` does: the weekday beside it is then an
# alternative and not a condition.
# Seen: days 11, 13, 15 for `11-11/2`; weekdays Friday, Sunday for `5/2`; every day of January for `1,* * MON`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q cronsim==2.8
"$folder/venv/bin/python" - <<'PYTHON'
from datetime import datetime
from itertools import islice

from cronsim import CronSim


def first(expression: str, count: int) -> list[datetime]:
    return list(islice(CronSim(expression, datetime(2023, 12, 31, 23, 59)), count))


inside = [moment.day for moment in first("0 0 11-13/2 * *", 3)]
beyond = [moment.day for moment in first("0 0 11-11/2 * *", 3)]
weekdays = [moment.strftime("%A") for moment in first("0 0 * * 5/2", 4)]
days = [moment.day for moment in first("0 0 1,* * MON", 7)]
print(f"11-13/2: {inside}; 11-11/2: {beyond}; 5/2: {weekdays}; 1,* and MON: {days}")
assert inside == [11, 13, 11], inside
assert beyond == [11, 13, 15], beyond
assert weekdays == ["Friday", "Sunday", "Friday", "Sunday"], weekdays
assert days == [1, 2, 3, 4, 5, 6, 7], days
PYTHON
