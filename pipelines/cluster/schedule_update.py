"""Changes a schedule, which the server cannot: a new one takes over from the old one, and no tick is lost.

1. Where a tick is near, it is waited for: between the making of the new schedule and the deletion of the old one no
   tick falls, so none starts two runs.
2. The new schedule is made first, and starts from now. A tick that the old one has not come round to, because as many
   runs as it may have are under way, is passed on: under the same rule the new one starts from the tick before, under
   another rule a run is started at once.
3. The old one is deleted; its runs that are under way go on.

A failure before 3 leaves both, which may run a tick twice but never loses one. Where ticks come so often that there is
no quiet moment, the same holds for the tick that falls into the exchange.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from kfp_server_api import V2beta1RecurringRun

from pipelines.arguments import build_arguments, restore_config
from pipelines.cluster.connection import Cluster, as_known
from pipelines.cluster.failures import ClusterError
from pipelines.cluster.package import (
    UNCACHED,
    Package,
    Version,
    ensure_version,
    ensure_version_of,
    name_pipeline,
)
from pipelines.cluster.schedules import (
    Plan,
    beginning_of,
    create_schedule,
    delete_schedule,
    is_enabled,
    list_runs,
    trigger_now,
)
from pipelines.cluster.status import FINAL
from pipelines.cluster.triggers import ScheduleError, Trigger, describe_trigger, format_time, trigger_of
from pipelines.compilation import NAMED_BY_VERSION, compile_training
from pipelines.inputs import check_locations, restore_inputs
from pipelines.options import ImageOptions, PodOptions
from ur4rec.commands.console import read_config

if TYPE_CHECKING:
    from ur4rec.config import Config

SETTLE = timedelta(seconds=60)
"""The time within which the server's scheduler has come round to a tick: it looks every 30 seconds."""
MAX_WAITS = 2
"""How often a tick is waited for; a third time would mean that ticks are never far."""


@dataclass(frozen=True)
class Changes:
    """What an update changes; None and empty leave things as they are."""

    trigger: Trigger | None
    max_concurrency: int | None
    no_catchup: bool | None
    follows_latest: bool | None
    config: str | None
    settings: tuple[str, ...]
    inputs: Mapping[str, Any]
    """Field of `Inputs` → value."""
    images: ImageOptions = NAMED_BY_VERSION
    end: datetime | None = None

    @property
    def compiles(self) -> bool:
        """Whether the parameters change, or the version, so that both are made anew."""
        is_new = self.config or self.settings or self.inputs or any(vars(self.images).values())
        return bool(is_new) or self.follows_latest is False


def plan_changes(cluster: Cluster, schedule: V2beta1RecurringRun, changes: Changes) -> Plan:
    """Return the schedule as it shall be; this uploads the pipeline where it is compiled anew.

    Raises:
        ScheduleError: The schedule was made in a way that cannot be taken over.
        ValueError: Typed: a setting or place cannot be used.
    """
    plan = _read_plan(schedule, changes.trigger)
    plan = replace(
        plan,
        max_concurrency=changes.max_concurrency or plan.max_concurrency,
        no_catchup=plan.no_catchup if changes.no_catchup is None else changes.no_catchup,
        follows_latest=plan.follows_latest if changes.follows_latest is None else changes.follows_latest,
        trigger=replace(plan.trigger, end=changes.end or _find_end(schedule)),
    )
    if not changes.compiles:
        return plan
    parameters = _change_parameters(plan.parameters, changes)
    return replace(plan, parameters=parameters, version=_compile_version(cluster, plan, parameters, changes.images))


@dataclass(frozen=True)
class Exchange:
    """What an update did."""

    schedule: V2beta1RecurringRun
    """The new schedule."""
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
    """Put a schedule in the place of another one.

    Args:
        cluster: The server.
        old: The schedule as it is.
        plan: As it shall be; a start of its trigger is ignored.
        zone: In which the server reckons cron expressions.
        say: Told why there is a pause.
        clock: The time.

    Raises:
        ScheduleError: The old schedule cannot be deleted; says that there are two then.
    """
    before = trigger_of(old.trigger)
    if is_enabled(old):
        _await_quiet(old, before, plan.trigger, zone, say, clock)
    now = clock.now()
    last, unrun = _find_unrun_tick(cluster, old, before, zone, now)
    unchanged = before is not None and before.rule == plan.trigger.rule
    passes_on = unchanged and (unrun is not None or not is_enabled(old))
    start = last if passes_on else plan.trigger.resume_point(now, last if unchanged else now)
    if before and before.start and before.start > now:  # it has not begun, and neither shall the new one
        start = before.start
    new = create_schedule(cluster, replace(plan, trigger=replace(plan.trigger, start=start)))
    try:
        delete_schedule(cluster, old)
    except ClusterError as error:
        raise ScheduleError(
            f"{error}; the new schedule {new.recurring_run_id} is there, and so is the old one, which may run ticks "
            f"twice: delete it with `schedule delete {old.recurring_run_id}`"
        ) from None
    if unrun is None or unchanged:
        return Exchange(new)
    run = trigger_now(cluster, new)
    return Exchange(new, f"the tick of {format_time(unrun, zone)} had no run yet; run {run.run_id} is for it")


def _compile_version(cluster: Cluster, plan: Plan, parameters: Mapping[str, Any], images: ImageOptions) -> Version:
    """Return the version of what is compiled now; a schedule that takes nothing from the cache never does."""
    pipeline_id = plan.version.pipeline_id
    get = cluster.client.pipelines.pipeline_service_get_pipeline
    name = cluster.ask(f"pipeline {pipeline_id}", get, pipeline_id).display_name
    images = replace(images, no_cache=images.no_cache or name.endswith(UNCACHED))
    package = Package(compile_training(images))
    package.check(parameters)
    if name_pipeline(name, images) == name:
        return ensure_version_of(cluster, pipeline_id, package)
    return ensure_version(cluster, name_pipeline(name, images), package)


def _find_end(schedule: V2beta1RecurringRun) -> datetime | None:
    trigger = trigger_of(schedule.trigger)
    return trigger.end if trigger else None


def _change_parameters(parameters: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    inputs = replace(restore_inputs(parameters), **changes.inputs)
    config = _change_config(parameters, changes)
    check_locations(config, inputs)
    return build_arguments(config, inputs, scheduled=True)


def _change_config(parameters: Mapping[str, Any], changes: Changes) -> Config:
    if changes.config:
        return read_config(Path(changes.config), changes.settings)
    return restore_config(parameters, changes.settings)


def _read_plan(schedule: V2beta1RecurringRun, trigger: Trigger | None) -> Plan:
    reference, config = schedule.pipeline_version_reference, schedule.runtime_config
    if reference is None or not reference.pipeline_id:
        raise ScheduleError(f"schedule {schedule.display_name!r}: names no pipeline; make another one with `create`")
    kept = trigger or trigger_of(schedule.trigger)
    if kept is None:
        raise ScheduleError(
            f"schedule {schedule.display_name!r}: {describe_trigger(schedule.trigger)}; correct it with --cron"
        )
    version_id = reference.pipeline_version_id or ""
    return Plan(
        name=schedule.display_name,
        trigger=kept,
        version=Version(reference.pipeline_id, version_id, version_id),
        follows_latest=not version_id,
        parameters=(config.parameters if config else None) or {},
        experiment_id=schedule.experiment_id,
        max_concurrency=int(schedule.max_concurrency or 1),
        no_catchup=bool(schedule.no_catchup),
        enabled=is_enabled(schedule),
        pods=PodOptions((config.pipeline_root if config else None) or None, schedule.service_account or None),
    )


def _find_unrun_tick(
    cluster: Cluster, schedule: V2beta1RecurringRun, trigger: Trigger | None, zone: ZoneInfo, now: datetime
) -> tuple[datetime, datetime | None]:
    """Find the last tick that has started a run (else the beginning), and a later one that is due and has none.

    One that is due counts only where something explains it: no free place, or that it is new. Otherwise its run was
    deleted.
    """
    places = int(schedule.max_concurrency or 1)
    runs = list_runs(cluster, schedule, places)
    ticks = [as_known(run.scheduled_at) or as_known(run.created_at) for run in runs]
    last = max((tick for tick in ticks if tick), default=beginning_of(schedule))
    if trigger is None or not is_enabled(schedule):
        return last, None
    tick = trigger.next_after(last, last, zone)
    newest = trigger.next_after(max(last, now - SETTLE), last, zone)
    is_full = len(runs) == places and all(run.state not in FINAL for run in runs)
    is_new = newest is not None and newest <= now
    return last, tick if tick and tick <= now and (is_full or is_new) else None


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
