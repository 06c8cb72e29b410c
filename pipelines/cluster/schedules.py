"""Recurring runs: made, found, paused, deleted, and run once out of turn."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from kfp_server_api import (
    RecurringRunMode,
    V2beta1PipelineVersionReference,
    V2beta1RecurringRun,
    V2beta1Run,
    V2beta1RuntimeConfig,
)

from pipelines.cluster.connection import Cluster, as_known
from pipelines.cluster.failures import MissingError
from pipelines.cluster.package import Version, filter_by_name, find_latest, stamp_now, start_run
from pipelines.cluster.triggers import ScheduleError, Trigger, trigger_of
from pipelines.options import PodOptions

PAGE_SIZE = 100
ORPHAN = "ORPHAN"
"""Runs that are under way outlive their schedule."""
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ENABLED = "ENABLED"


@dataclass(frozen=True)
class Plan:
    """A schedule before it is made.

    Args:
        name: Unique among the schedules.
        trigger: When runs start.
        version: The pipeline; its `version_id` is not sent where the schedule follows the latest one.
        follows_latest: Each run takes the version that is the newest then.
        parameters: Of every run.
        max_concurrency: Runs under way at once.
        no_catchup: Of ticks that were missed, the latest alone is made up for.
    """

    name: str
    trigger: Trigger
    version: Version
    follows_latest: bool
    parameters: Mapping[str, Any]
    experiment_id: str
    max_concurrency: int = 1
    no_catchup: bool = True
    enabled: bool = True
    pods: PodOptions = field(default_factory=PodOptions)

    def to_request(self) -> V2beta1RecurringRun:
        """Return the plan as the server takes it: a pipeline id alone, which kfp's client refuses, means the latest."""
        reference = V2beta1PipelineVersionReference(
            pipeline_id=self.version.pipeline_id,
            pipeline_version_id=None if self.follows_latest else self.version.version_id,
        )
        return V2beta1RecurringRun(
            display_name=self.name,
            experiment_id=self.experiment_id,
            pipeline_version_reference=reference,
            runtime_config=V2beta1RuntimeConfig(
                parameters=dict(self.parameters), pipeline_root=self.pods.pipeline_root
            ),
            trigger=self.trigger.to_request(),
            mode=RecurringRunMode.ENABLE if self.enabled else RecurringRunMode.DISABLE,
            max_concurrency=str(self.max_concurrency),
            no_catchup=self.no_catchup,
            service_account=self.pods.service_account,
        )


def create_schedule(cluster: Cluster, plan: Plan) -> Any:
    """Make a schedule."""
    make = cluster.client.recurring_runs.recurring_run_service_create_recurring_run
    return cluster.ask(f"new schedule {plan.name!r}", make, plan.to_request())


def list_schedules(cluster: Cluster, name: str | None = None) -> list[V2beta1RecurringRun]:
    """Return all schedules, or those of a name."""
    chosen = {"namespace": cluster.namespace, "filter": filter_by_name(name) if name else ""}
    listing = cluster.client.recurring_runs.recurring_run_service_list_recurring_runs
    pages = _read_pages(cluster, "schedules", listing, **chosen)
    return [schedule for page in pages for schedule in page.recurring_runs or []]


def find_schedule(cluster: Cluster, name_or_id: str) -> V2beta1RecurringRun:
    """Return the schedule of a name or id.

    Raises:
        ScheduleError: There is none, or several have this name.
    """
    if ID.fullmatch(name_or_id):
        get = cluster.client.recurring_runs.recurring_run_service_get_recurring_run
        try:
            return cluster.ask(f"schedule {name_or_id}", get, name_or_id)
        except MissingError:
            raise ScheduleError(f"schedule {name_or_id}: there is none; see `schedule list`") from None
    found = list_schedules(cluster, name_or_id)
    if not found:
        raise ScheduleError(f"schedule {name_or_id!r}: there is none; see `schedule list`")
    if len(found) > 1:
        ids = ", ".join(schedule.recurring_run_id for schedule in found)
        raise ScheduleError(f"schedule {name_or_id!r}: several have this name ({ids}); name one by its id")
    return found[0]


def check_free(cluster: Cluster, name: str) -> None:
    """Check that no schedule has a name yet.

    Raises:
        ScheduleError: One has.
    """
    if list_schedules(cluster, name):
        raise ScheduleError(f"schedule {name!r}: exists; change it with `schedule update`, or choose another name")


def pause_schedule(cluster: Cluster, schedule: V2beta1RecurringRun) -> None:
    """Let no tick start a run until the schedule is resumed."""
    disable = cluster.client.recurring_runs.recurring_run_service_disable_recurring_run
    cluster.ask(f"schedule {schedule.display_name!r}", disable, schedule.recurring_run_id)


def resume_schedule(cluster: Cluster, schedule: V2beta1RecurringRun) -> None:
    """End a pause; the server makes up for the latest tick that was missed, or for all with catch-up."""
    enable = cluster.client.recurring_runs.recurring_run_service_enable_recurring_run
    cluster.ask(f"schedule {schedule.display_name!r}", enable, schedule.recurring_run_id)


def delete_schedule(cluster: Cluster, schedule: V2beta1RecurringRun) -> None:
    """Remove a schedule; its runs, also those under way, stay."""
    what = f"schedule {schedule.display_name!r} ({schedule.recurring_run_id})"
    delete = cluster.client.recurring_runs.recurring_run_service_delete_recurring_run
    cluster.ask(what, delete, schedule.recurring_run_id, propagation_policy=ORPHAN)


def trigger_now(cluster: Cluster, schedule: V2beta1RecurringRun) -> Any:
    """Start one run with a schedule's version and parameters, paused or not.

    Raises:
        ScheduleError: The schedule names no pipeline.
    """
    reference = schedule.pipeline_version_reference
    if reference is None:
        raise ScheduleError(f"schedule {schedule.display_name!r}: names no pipeline; start it in the web interface")
    version_id = reference.pipeline_version_id or find_latest(cluster, reference.pipeline_id).version_id
    return start_run(
        cluster,
        V2beta1Run(
            experiment_id=schedule.experiment_id,
            display_name=f"{schedule.display_name} {stamp_now()}",
            description=f"out of turn, of schedule {schedule.display_name}",
            pipeline_version_reference=V2beta1PipelineVersionReference(
                pipeline_id=reference.pipeline_id, pipeline_version_id=version_id
            ),
            runtime_config=schedule.runtime_config,
            service_account=schedule.service_account or None,
        ),
    )


def list_runs(cluster: Cluster, schedule: V2beta1RecurringRun, wanted: int) -> list[V2beta1Run]:
    """Return the newest runs that ticks of a schedule have started, newest first.

    The server can list the runs of an experiment only, so as many pages are read as that takes.
    """
    chosen = {"experiment_id": schedule.experiment_id, "namespace": cluster.namespace, "sort_by": "created_at desc"}
    listing = cluster.client.runs.run_service_list_runs
    pages = _read_pages(cluster, f"runs of schedule {schedule.display_name!r}", listing, **chosen)
    runs = (run for page in pages for run in page.runs or [] if run.recurring_run_id == schedule.recurring_run_id)
    return list(islice(runs, wanted))


def is_enabled(schedule: V2beta1RecurringRun) -> bool:
    """Return whether ticks start runs; older servers tell the mode alone."""
    return bool(schedule.status == ENABLED if schedule.status else schedule.mode == RecurringRunMode.ENABLE)


def beginning_of(schedule: V2beta1RecurringRun) -> datetime:
    """Return since when the ticks of a schedule count."""
    trigger = trigger_of(schedule.trigger)
    created = as_known(schedule.created_at) or datetime.now(UTC)
    return trigger.start if trigger and trigger.start else created


def find_next(schedule: V2beta1RecurringRun, moment: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the next tick; None where the schedule is paused or its expression is refused here."""
    trigger = trigger_of(schedule.trigger)
    if trigger is None or not is_enabled(schedule):
        return None
    return trigger.next_after(moment, beginning_of(schedule), zone)


def _read_pages(cluster: Cluster, subject: str, listing: Callable[..., Any], **chosen: Any) -> Iterator[Any]:
    """Yield the server's answers; the next page is asked for once something of it is wanted."""
    token: str | None = ""
    while token is not None:
        page = cluster.ask(subject, listing, page_token=token, page_size=PAGE_SIZE, **chosen)
        yield page
        token = page.next_page_token or None
