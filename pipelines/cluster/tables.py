"""What is shown of runs and schedules."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from kfp_server_api import V2beta1RecurringRun, V2beta1Run

from pipelines.cluster.connection import as_known
from pipelines.cluster.schedules import find_next, is_enabled
from pipelines.cluster.status import SUCCEEDED, RunStatus, Server
from pipelines.cluster.triggers import describe_trigger, format_time
from pipelines.tasks import Status, Task
from pipelines.views import MARKS, format_seconds
from ur4rec.commands.console import show, show_table
from ur4rec.terminal import PlainConsole

SHOWN_RUNS = 5
LATEST = "the latest"


def show_status(status: RunStatus, server: Server) -> None:
    """Print the tasks of a run, and how it stands."""
    rows = [(MARKS[task.status][0], task.title, task.status, format_seconds(task.seconds)) for task in status.tasks]
    if rows:
        show_table(status.name, ("", "task", "state", "took"), rows)
    show_end(status, server)


def show_end(status: RunStatus, server: Server) -> None:
    """Print how a run stands, which tasks failed and why, and where more is to be read."""
    console = PlainConsole()
    style = "green" if status.state == SUCCEEDED else "red" if status.is_final else "cyan"
    console.tell(f"run {status.run_id}: ", (status.state, style))
    for failure in status.failures:
        reason = f": {failure.message}" if failure.message else ""
        console.tell(("failed:", "red"), f" {failure.title}{reason}")
    if status.message:
        show(f"reason: {' '.join(status.message.split())}")
    if status.failures:
        show(f"logs:   python -m pipelines logs {status.run_id}")
    show(f"page:   {server.run_url(status.run_id)}")


def show_runs(runs: Sequence[V2beta1Run]) -> None:
    """Print a row for each run."""
    if not runs:
        show("no such runs")
        return
    rows = [
        (format_time(as_known(run.created_at)), run.state or "PENDING", run.display_name, run.run_id) for run in runs
    ]
    show_table("runs", ("made", "state", "name", "id"), rows)


def show_logs(status: RunStatus, tasks: Sequence[Task], server: Server) -> None:
    """Print what the API tells of tasks, and the commands that print their logs, which it does not tell."""
    for task in tasks:
        took = f" in {format_seconds(task.seconds)}" if task.seconds is not None else ""
        show(f"{task.title}: {task.status}{took}")
        for failure in status.failures:
            if failure.title == task.title and failure.message:
                show(f"  {failure.message}")
        if task.status not in (Status.WAITING, Status.SKIPPED):
            for node in status.nodes[task.name]:
                show(f"  {server.write_log_command(status.run_id, node)}")
    for line in server.describe_logs(status.run_id):
        show(line)


def show_schedules(schedules: Sequence[V2beta1RecurringRun], zone: ZoneInfo) -> None:
    """Print a row for each schedule."""
    if not schedules:
        show("no schedules; make one with `python -m pipelines schedule create`")
        return
    rows = [
        (
            schedule.display_name,
            _describe_state(schedule),
            describe_trigger(schedule.trigger),
            format_time(find_next(schedule, datetime.now(UTC), zone), zone),
            LATEST if _describe_version(schedule) == LATEST else "fixed",
        )
        for schedule in sorted(schedules, key=lambda schedule: str(schedule.display_name))
    ]
    show_table("schedules", ("name", "state", "when", "next run", "version"), rows)


def show_schedule(schedule: V2beta1RecurringRun, runs: Sequence[V2beta1Run], zone: ZoneInfo) -> None:
    """Print everything about one schedule, and the runs that its ticks have started, newest first."""
    show_table(f"schedule {schedule.display_name}", ("what", "value"), _list_facts(schedule, zone))
    show_table("parameters", ("name", "value"), _list_parameters(schedule))
    if runs:
        rows = [
            (format_time(as_known(run.scheduled_at) or as_known(run.created_at), zone), run.state, run.run_id)
            for run in runs
        ]
        show_table("newest runs", ("tick", "state", "id"), rows)


def _list_facts(schedule: V2beta1RecurringRun, zone: ZoneInfo) -> Iterator[tuple[str, object]]:
    yield "id", schedule.recurring_run_id
    yield "state", _describe_state(schedule)
    yield "when", describe_trigger(schedule.trigger)
    yield "next run", format_time(find_next(schedule, datetime.now(UTC), zone), zone)
    yield "runs at once", str(schedule.max_concurrency)
    yield "missed ticks", "the latest is made up for" if schedule.no_catchup else "all are made up for"
    yield "pipeline version", _describe_version(schedule)
    yield "made", format_time(as_known(schedule.created_at), zone)
    if schedule.runtime_config and schedule.runtime_config.pipeline_root:
        yield "pipeline root", schedule.runtime_config.pipeline_root


def _list_parameters(schedule: V2beta1RecurringRun) -> Iterator[tuple[str, str]]:
    """Yield the parameters that are not empty, groups of settings as JSON."""
    held = (schedule.runtime_config.parameters if schedule.runtime_config else None) or {}
    for name, value in sorted(held.items()):
        if value:
            yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _describe_state(schedule: V2beta1RecurringRun) -> str:
    if schedule.error and schedule.error.message:
        return f"error: {schedule.error.message}"
    return "on" if is_enabled(schedule) else "paused"


def _describe_version(schedule: V2beta1RecurringRun) -> str:
    reference = schedule.pipeline_version_reference
    if reference is None:
        return "within the schedule"
    return reference.pipeline_version_id or LATEST
