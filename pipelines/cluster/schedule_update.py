"""Changes a schedule, which the server cannot: a new one takes over from the old one, and no tick is lost.

1. Where a tick is near, it is waited for: between the making of the new schedule and the deletion of the old one no
   tick falls, so none starts two runs.
2. The new schedule is made first. Where both follow the same rule, it starts from the last tick that the old one has
   run: whatever the old one has not come round to, the new one makes up for. Under another rule it starts from now.
3. The old one is deleted; its runs that are under way go on.

A failure before 3 leaves both, which may run a tick twice but never loses one. Where ticks come so often that there is
no quiet moment, the same holds for the tick that falls into the exchange.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from kfp_server_api import V2beta1RecurringRun

from pipelines.cluster.connection import Cluster
from pipelines.cluster.failures import ClusterError
from pipelines.cluster.run_status import as_known
from pipelines.cluster.schedules import Plan, create_schedule, delete_schedule, is_enabled, list_runs, trigger_now
from pipelines.cluster.triggers import ScheduleError, Trigger, format_time, trigger_of

SETTLE = timedelta(seconds=45)
"""Within which the server's scheduler has come round to a tick: it looks every 10 seconds."""
MAX_WAITS = 2
"""A third one would mean that ticks are never far."""


@dataclass(frozen=True)
class Exchange:
    """What an update did."""

    schedule: V2beta1RecurringRun
    """The new one."""
    note: str = ""
    """Something that the user should know."""


@dataclass(frozen=True)
class Clock:
    """The time, and how to let it pass."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep


def exchange_schedule(
    cluster: Cluster,
    old: V2beta1RecurringRun,
    plan: Plan,
    zone: ZoneInfo,
    say: Callable[[str], None],
    clock: Clock = Clock(),
) -> Exchange:
    """Puts a schedule in the place of another one.

    Args:
        cluster: The server.
        old: The schedule as it is.
        plan: As it shall be; a start of its trigger is ignored.
        zone: In which the server reckons cron expressions.
        say: Told why there is a pause.
        clock: The time.

    Raises:
        ClusterError: The server cannot be asked or refuses; says which schedules there are then.
    """
    before = trigger_of(old.trigger)
    if is_enabled(old):
        _await_quiet(old, before, plan.trigger, zone, say, clock)
    last = _find_last_tick(cluster, old)
    waiting = _find_waiting_tick(old, before, last, zone, clock.now())
    unchanged = before is not None and before.rule == plan.trigger.rule
    start = last if unchanged else clock.now().replace(microsecond=0)
    new = create_schedule(cluster, replace(plan, trigger=replace(plan.trigger, start=start)).to_request())
    try:
        delete_schedule(cluster, old)
    except ClusterError as error:
        raise ScheduleError(
            f"{error}; the new schedule {new.recurring_run_id} is there, and so is the old one, which may run ticks "
            f"twice: delete it with `schedule delete {old.recurring_run_id}`"
        ) from None
    if waiting is None or unchanged:
        return Exchange(new)
    run = trigger_now(cluster, new)
    return Exchange(new, f"the tick of {format_time(waiting, zone)} waited for another run; run {run.run_id} is for it")


def beginning_of(schedule: V2beta1RecurringRun) -> datetime:
    """Since when its ticks count."""
    trigger = trigger_of(schedule.trigger)
    created = as_known(schedule.created_at) or datetime.now(UTC)
    return trigger.start if trigger and trigger.start else created


def _find_last_tick(cluster: Cluster, schedule: V2beta1RecurringRun) -> datetime:
    """The latest tick that has started a run; without one, the beginning of the schedule."""
    ticks = [as_known(run.scheduled_at) or as_known(run.created_at) for run in list_runs(cluster, schedule)]
    return max((tick for tick in ticks if tick), default=beginning_of(schedule))


def _find_waiting_tick(
    schedule: V2beta1RecurringRun, trigger: Trigger | None, last: datetime, zone: ZoneInfo, now: datetime
) -> datetime | None:
    """A tick that is due and has no run, because others are under way."""
    if trigger is None or not is_enabled(schedule):
        return None
    tick = trigger.next_after(last, last, zone)
    return tick if tick and tick <= now else None


def _await_quiet(
    old: V2beta1RecurringRun,
    before: Trigger | None,
    after: Trigger,
    zone: ZoneInfo,
    say: Callable[[str], None],
    clock: Clock,
) -> None:
    anchor = beginning_of(old)
    for _ in range(MAX_WAITS):
        now = clock.now()
        ticks = [trigger.next_after(now - SETTLE, anchor, zone) for trigger in (before, after) if trigger]
        near = [tick for tick in ticks if tick and tick <= now + SETTLE]
        if not near:
            return
        say(f"waiting until the tick of {format_time(max(near), zone)} has its run")
        clock.sleep((max(near) + SETTLE - now).total_seconds())
