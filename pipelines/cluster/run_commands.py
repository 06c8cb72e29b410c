"""`python -m pipelines submit | runs | status | watch | logs | cancel | retry | clone`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cluster.targets import TargetOptions, connect_for, is_on_vertex
from pipelines.options import (
    ClusterOptions,
    ImageOptions,
    PlaceOptions,
    PodOptions,
    RunArgument,
    ServerOptions,
    grouped,
)
from ur4rec.commands.console import OptionError, SetOption, show
from ur4rec.terminal import PlainConsole

if TYPE_CHECKING:
    from pipelines.cluster.package import Package
    from pipelines.cluster.status import RunStatus, Server
    from pipelines.cluster.vertex_job import VertexJob

FAILED = 1

WaitOption = Annotated[bool, typer.Option("--wait", "-w", help="Follow the run to its end; 1 unless it succeeds.")]


@grouped
def submit(
    *,
    run: ClusterOptions,
    place: PlaceOptions,
    name: Annotated[str | None, typer.Option(help="Of the run.", show_default="pipeline and time")] = None,
    pods: PodOptions,
    images: ImageOptions,
    server: ServerOptions,
    target: TargetOptions,
    network: Annotated[
        str | None, typer.Option(help="For vertex: VPC network of the tasks, projects/NUMBER/global/networks/NAME.")
    ] = None,
    wait: WaitOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent, and ask no server.")] = False,
) -> None:
    """Start a run on a cluster.

    The pipeline is compiled and uploaded if the server has not got these bytes; the data are fixed to what they are
    now. Credentials come from the environment: KF_PIPELINES_TOKEN, KF_PIPELINES_TOKEN_FILE, KF_PIPELINES_COOKIES, or
    KF_PIPELINES_USERNAME and KF_PIPELINES_PASSWORD for a login at Dex.

    Examples:
        python -m pipelines submit --endpoint http://localhost:8080 --data gs://bucket/plays --wait

        python -m pipelines submit --data gs://bucket/plays --image-repository registry.example/team/ur4rec --dry-run

        python -m pipelines submit --target vertex --region europe-west4 --pipeline-root gs://bucket/root
        --data gs://bucket/plays --tracking-uri https://mlflow.example --image-repository REGISTRY/ur4rec
    """
    from pipelines.cluster.package import Submission, name_pipeline, prepare, stamp_now, submit
    from pipelines.cluster.vertex_job import build_job

    package, parameters = prepare(run, images, pods, scheduled=False)
    place = replace(place, pipeline=name_pipeline(place.pipeline, images))
    named = name or f"{place.pipeline} {stamp_now()}"
    if target.is_vertex:
        _submit_to_vertex(build_job(package, parameters, pods, named, network), target, wait, dry_run)
        return
    submission = Submission(
        package=package,
        parameters=parameters,
        place=place,
        pods=pods,
        name=named,
    )
    if dry_run:
        typer.echo(json.dumps(submission.describe(), indent=2, ensure_ascii=False))
        return
    cluster = server.connect()
    started, version = submit(cluster, submission)
    show(f"version: {version.name} of {place.pipeline}, {'uploaded' if version.is_new else 'there already'}")
    _show_images(package)
    show(f"run:     {started.run_id}")
    _show_next(cluster, started.run_id, wait)


@grouped
def status(run_id: RunArgument, server: ServerOptions, wait: WaitOption = False) -> None:
    """Show how a run and its tasks stand; the exit code is 1 if it ended otherwise than well.

    Example:
        python -m pipelines status RUN_ID --wait
    """
    from pipelines.cluster.status import RunReader
    from pipelines.cluster.tables import show_status

    cluster = connect_for(server, run_id)
    if wait:
        raise typer.Exit(_follow(cluster, run_id))
    found = RunReader(cluster, run_id).status
    show_status(found, cluster)
    raise typer.Exit(_exit_code(found))


@grouped
def watch(run_id: RunArgument, server: ServerOptions) -> None:
    """Follow a run to its end: `status --wait`.

    Example:
        python -m pipelines watch RUN_ID
    """
    raise typer.Exit(_follow(connect_for(server, run_id), run_id))


@grouped
def logs(
    *,
    run_id: RunArgument,
    task: Annotated[str | None, typer.Option(help="One task, by its name or title.", show_default="all")] = None,
    server: ServerOptions,
) -> None:
    """Show the errors of a run's tasks, and the commands that print the logs: the API has none.

    Example:
        python -m pipelines logs RUN_ID --task evaluate
    """
    from pipelines.cluster.status import RunReader
    from pipelines.cluster.tables import show_logs

    cluster = connect_for(server, run_id)
    found = RunReader(cluster, run_id).status
    wanted = [one for one in found.tasks if task is None or task.lower() in (one.name, one.title.lower())]
    if task is not None and not wanted:
        names = ", ".join(one.name for one in found.tasks)
        raise OptionError(f"--task {task}: the run has no such task; it has {names}")
    show_logs(found, wanted, cluster)


@grouped
def runs(
    *,
    state: Annotated[str | None, typer.Option(help="Only these: running, failed, succeeded, …")] = None,
    name: Annotated[str | None, typer.Option(help="Only those with this in their name.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Only those of this experiment.")] = None,
    limit: Annotated[int, typer.Option(help="So many at most.", min=1, max=200)] = 20,
    page: Annotated[str, typer.Option(help="What follows, as the command before has printed it.")] = "",
    server: ServerOptions,
    target: TargetOptions,
) -> None:
    """List runs, the newest first.

    Examples:
        python -m pipelines runs

        python -m pipelines runs --state failed --name nightly --limit 5

        python -m pipelines runs --target vertex --project me --region europe-west4
    """
    from pipelines.cluster.runs import Wanted, check_state, list_page
    from pipelines.cluster.tables import show_runs

    wanted = Wanted(check_state(state) if state else None, name, experiment, limit, page)
    found, following = target.connect().list_page(wanted) if target.is_vertex else list_page(server.connect(), wanted)
    show_runs(found)
    if following:
        show(f"more: add --page {following}")


@grouped
def cancel(run_id: RunArgument, server: ServerOptions) -> None:
    """Stop a run; its training tasks keep their state, where they have a place for it. `runs` lists the ids.

    Example:
        python -m pipelines cancel RUN_ID
    """
    from pipelines.cluster.runs import cancel_run

    run = cancel_run(connect_for(server, run_id), run_id)
    show(f"canceling: {run.display_name}; python -m pipelines status {run_id} --wait")


@grouped
def retry(run_id: RunArgument, server: ServerOptions, wait: WaitOption = False) -> None:
    """Start the failed tasks of a run again, and those that follow; what succeeded is not done twice. `runs` lists ids.

    Example:
        python -m pipelines retry RUN_ID --wait
    """
    from pipelines.cluster.runs import retry_run

    _expect_kubeflow("retry", run_id)
    cluster = server.connect()
    run = retry_run(cluster, run_id)
    show(f"again: {run.display_name}")
    _show_next(cluster, run_id, wait)


@grouped
def clone(
    *,
    run_id: RunArgument,
    name: Annotated[str | None, typer.Option(help="Of the new run.", show_default="that of the run, and time")] = None,
    settings: SetOption = None,
    server: ServerOptions,
    wait: WaitOption = False,
) -> None:
    """Start a run once more: the same version, data and parameters, apart from what is set. `runs` lists the ids.

    Example:
        python -m pipelines clone RUN_ID --set epochs_per_stage=20
    """
    from pipelines.cluster.runs import clone_run

    _expect_kubeflow("clone", run_id)
    cluster = server.connect()
    started = clone_run(cluster, run_id, name, settings or ())
    show(f"run:     {started.run_id}")
    _show_next(cluster, started.run_id, wait)


def _submit_to_vertex(job: VertexJob, target: TargetOptions, wait: bool, dry_run: bool) -> None:
    if dry_run:
        typer.echo(json.dumps(job.describe(), indent=2, ensure_ascii=False))
        return
    vertex = target.connect()
    for line in job.left_out:
        show(f"without  {line}")
    started = vertex.start_run(job)
    _show_images(job.package)
    show(f"run:     {started.run_id}")
    _show_next(vertex, str(started.run_id), wait)


def _show_images(package: Package) -> None:
    for image in package.images:
        show(f"image:   {image}{'' if '@sha256:' in image else ' (by tag; pin it with --image-digest)'}")


def _expect_kubeflow(command: str, run_id: str) -> None:
    if is_on_vertex(run_id):
        raise OptionError(f"{command}: Vertex AI has none; submit again, and what has not changed is not done twice")


def _show_next(cluster: Server, run_id: str, wait: bool) -> None:
    show(f"page:    {cluster.run_url(run_id)}")
    if wait:
        raise typer.Exit(_follow(cluster, run_id))
    show(f"follow:  python -m pipelines status {run_id} --wait")


def _follow(cluster: Server, run_id: str) -> int:
    from pipelines.cluster.status import follow
    from pipelines.cluster.tables import show_end

    try:
        found = follow(cluster, run_id, PlainConsole())
    except KeyboardInterrupt:
        show(f"the run goes on: python -m pipelines status {run_id} --wait")
        raise
    show_end(found, cluster)
    return _exit_code(found)


def _exit_code(found: RunStatus) -> int:
    from pipelines.cluster.status import SUCCEEDED

    return FAILED if found.is_final and found.state != SUCCEEDED else 0
