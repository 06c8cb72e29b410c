"""`python -m pipelines schedule …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.options import (
    ClusterOptions,
    ImageOptions,
    PlaceOptions,
    PodOptions,
    ScheduleArgument,
    ServerOptions,
    TimeOptions,
    TimeZoneOption,
    grouped,
)
from ur4rec.commands.console import show

if TYPE_CHECKING:
    from kfp_server_api import V2beta1RecurringRun

    from pipelines.cluster.connection import Cluster

app = typer.Typer(help="Runs at set times.", no_args_is_help=True, rich_markup_mode="rich")


@app.command()
@grouped
def create(
    *,
    name: Annotated[str, typer.Argument(help="Of the schedule; unique.")],
    time: TimeOptions,
    start: Annotated[
        str | None, typer.Option(help="No runs before this: 2027-01-31, or 2027-01-31T18:00, in --time-zone.")
    ] = None,
    time_zone: TimeZoneOption = "UTC",
    max_concurrency: Annotated[int, typer.Option(help="Runs under way at once, 1 to 10.")] = 1,
    catchup: Annotated[
        bool, typer.Option("--catchup", help="Make up for every tick that was missed, not for the latest alone.")
    ] = False,
    latest_version: Annotated[
        bool, typer.Option("--latest-version", help="Each run takes the pipeline version that is the newest then.")
    ] = False,
    paused: Annotated[bool, typer.Option("--paused", help="Start none until `resume`.")] = False,
    run: ClusterOptions,
    place: PlaceOptions,
    pods: PodOptions,
    images: ImageOptions,
    server: ServerOptions,
) -> None:
    """Make a schedule. Each of its runs reads the data as they are then.

    Examples:
        python -m pipelines schedule create nightly --cron '0 0 3 * * *' --data gs://bucket/plays

        python -m pipelines schedule create often --every 6h --latest-version --data gs://bucket/plays

        python -m pipelines schedule create may --cron @daily --start 2027-05-01 --end 2027-06-01 --data gs://bucket/plays
    """
    from pipelines.cluster.package import ensure_experiment, ensure_version, name_pipeline, prepare
    from pipelines.cluster.schedules import Plan, check_free, create_schedule
    from pipelines.cluster.triggers import check_concurrency, limit_trigger, read_moment, read_trigger, read_zone

    zone = read_zone(time_zone)
    begin, end = read_moment("--start", start, zone), read_moment("--end", time.end, zone)
    trigger = limit_trigger(read_trigger(time.cron, time.every), begin, end, zone)
    check_concurrency(max_concurrency)
    package, parameters = prepare(run, images, pods, scheduled=True)
    cluster = server.connect()
    check_free(cluster, name)
    plan = Plan(
        name=name,
        trigger=trigger,
        version=ensure_version(cluster, name_pipeline(place.pipeline, images), package),
        follows_latest=latest_version,
        parameters=parameters,
        experiment_id=ensure_experiment(cluster, place.experiment),
        max_concurrency=max_concurrency,
        no_catchup=not catchup,
        enabled=not paused,
        pods=pods,
    )
    _announce("made", create_schedule(cluster, plan), time_zone)
    if zone.key != "UTC":
        show(f"the fields are read in {zone.key} only if the server's CRON_SCHEDULE_TIMEZONE says so")


@app.command(name="list")
@grouped
def list_command(*, time_zone: TimeZoneOption = "UTC", server: ServerOptions) -> None:
    """List the schedules, with the next run of each.

    Example:
        python -m pipelines schedule list
    """
    from pipelines.cluster.schedules import list_schedules
    from pipelines.cluster.tables import show_schedules
    from pipelines.cluster.triggers import read_zone

    zone = read_zone(time_zone)
    show_schedules(list_schedules(server.connect()), zone)


@app.command(name="show")
@grouped
def show_command(*, schedule: ScheduleArgument, time_zone: TimeZoneOption = "UTC", server: ServerOptions) -> None:
    """Show a schedule: when, what, with which parameters, and its newest runs.

    Example:
        python -m pipelines schedule show nightly
    """
    from pipelines.cluster.schedules import list_runs
    from pipelines.cluster.tables import SHOWN_RUNS, show_schedule
    from pipelines.cluster.triggers import read_zone

    zone = read_zone(time_zone)
    cluster, found = _find(schedule, server)
    show_schedule(found, list_runs(cluster, found, SHOWN_RUNS), zone)


@app.command()
@grouped
def pause(schedule: ScheduleArgument, server: ServerOptions) -> None:
    """Start no runs until `resume`; those under way go on.

    Example:
        python -m pipelines schedule pause nightly
    """
    from pipelines.cluster.schedules import pause_schedule

    cluster, found = _find(schedule, server)
    pause_schedule(cluster, found)
    show(f"paused: {found.display_name}")


@app.command()
@grouped
def resume(*, schedule: ScheduleArgument, time_zone: TimeZoneOption = "UTC", server: ServerOptions) -> None:
    """End a pause. The server then makes up for the latest tick that was missed.

    Example:
        python -m pipelines schedule resume nightly
    """
    from pipelines.cluster.schedules import find_schedule, resume_schedule

    cluster, found = _find(schedule, server)
    resume_schedule(cluster, found)
    _announce("resumed", find_schedule(cluster, found.recurring_run_id), time_zone)


@app.command()
@grouped
def update(
    *,
    schedule: ScheduleArgument,
    time: TimeOptions,
    time_zone: TimeZoneOption = "UTC",
    max_concurrency: Annotated[int | None, typer.Option(help="Runs under way at once, 1 to 10.")] = None,
    catchup: Annotated[
        bool | None, typer.Option("--catchup/--no-catchup", help="Make up for every missed tick, or for the latest.")
    ] = None,
    latest_version: Annotated[
        bool | None,
        typer.Option(
            "--latest-version/--this-version", help="Follow the newest version, or take the one compiled now."
        ),
    ] = None,
    run: ClusterOptions,
    images: ImageOptions,
    server: ServerOptions,
) -> None:
    """Change a schedule; what is not named stays. It gets another id, and no tick is lost.

    Options about data, settings, the gate, images and the profile compile the pipeline anew: give those about images
    and the profile again. The others leave the version and the parameters as they are.

    Examples:
        python -m pipelines schedule update nightly --cron '0 30 4 * * *'

        python -m pipelines schedule update nightly --set epochs_per_stage=20 --this-version
    """
    from pipelines.cluster.schedule_update import Changes, exchange_schedule, plan_changes
    from pipelines.cluster.triggers import check_concurrency, read_moment, read_trigger, read_zone
    from pipelines.compilation import check_images
    from pipelines.inputs import name_inputs

    zone = read_zone(time_zone)
    check_images(images)
    changes = Changes(
        trigger=read_trigger(time.cron, time.every) if time.cron or time.every else None,
        max_concurrency=None if max_concurrency is None else check_concurrency(max_concurrency),
        no_catchup=None if catchup is None else not catchup,
        follows_latest=latest_version,
        config=run.config,
        settings=tuple(run.settings or ()),
        inputs=name_inputs(run),
        images=images,
        end=read_moment("--end", time.end, zone),
    )
    cluster, found = _find(schedule, server)
    plan = plan_changes(cluster, found, changes)
    outcome = exchange_schedule(cluster, found, plan, zone, show)
    _announce("updated", outcome.schedule, time_zone)
    if outcome.note:
        show(f"note: {outcome.note}")


@app.command()
@grouped
def delete(schedule: ScheduleArgument, server: ServerOptions) -> None:
    """Delete a schedule; its runs, also those under way, stay.

    Example:
        python -m pipelines schedule delete nightly
    """
    from pipelines.cluster.schedules import delete_schedule

    cluster, found = _find(schedule, server)
    delete_schedule(cluster, found)
    show(f"deleted: {found.display_name}")


@app.command()
@grouped
def trigger(schedule: ScheduleArgument, server: ServerOptions) -> None:
    """Start one run now, as a tick would, also of a paused schedule.

    Example:
        python -m pipelines schedule trigger nightly
    """
    from pipelines.cluster.schedules import trigger_now

    cluster, found = _find(schedule, server)
    run = trigger_now(cluster, found)
    show(f"run:    {run.run_id}")
    show(f"page:   {cluster.run_url(run.run_id)}")
    show(f"follow: python -m pipelines status {run.run_id} --wait")


def _find(schedule: str, server: ServerOptions) -> tuple[Cluster, V2beta1RecurringRun]:
    from pipelines.cluster.schedules import find_schedule

    cluster = server.connect()
    return cluster, find_schedule(cluster, schedule)


def _announce(verb: str, schedule: V2beta1RecurringRun, time_zone: str) -> None:
    from datetime import UTC, datetime

    from pipelines.cluster.schedules import find_next, is_enabled
    from pipelines.cluster.triggers import describe_trigger, format_time, read_zone

    zone = read_zone(time_zone)
    show(f"{verb}: {schedule.display_name}, {describe_trigger(schedule.trigger)}, id {schedule.recurring_run_id}")
    if is_enabled(schedule):
        show(f"next run: {format_time(find_next(schedule, datetime.now(UTC), zone), zone)}")
    else:
        show(f"paused: python -m pipelines schedule resume {schedule.display_name}")
