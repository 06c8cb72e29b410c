"""`python -m pipelines submit | status | watch | logs`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.options import (
    DEFAULT_CONFIG,
    EXPERIMENT,
    PIPELINE,
    CloudDataOption,
    CloudItemsOption,
    CloudItemTextOption,
    CloudStateOption,
    CloudUserTextOption,
    ClusterConfigOption,
    ClusterDeviceOption,
    ClusterTrackingOption,
    EndpointOption,
    ExperimentOption,
    GateRulesOption,
    ImageDigestOption,
    ImageRepositoryOption,
    ImageTagOption,
    NamespaceOption,
    PipelineOption,
    PipelineRootOption,
    ProfileOption,
    RunArgument,
    ServiceAccountOption,
)
from ur4rec.commands.console import OptionError, SetOption, show
from ur4rec.terminal import PlainConsole

if TYPE_CHECKING:
    from pipelines.cluster.connection import Cluster
    from pipelines.cluster.status import RunStatus

FAILED = 1

WaitOption = Annotated[bool, typer.Option("--wait", "-w", help="Follow the run to its end; 1 unless it succeeds.")]


def submit(
    data: CloudDataOption = None,
    items: CloudItemsOption = None,
    item_text: CloudItemTextOption = None,
    user_text: CloudUserTextOption = None,
    config: ClusterConfigOption = DEFAULT_CONFIG,
    settings: SetOption = None,
    tracking_uri: ClusterTrackingOption = None,
    state: CloudStateOption = None,
    device: ClusterDeviceOption = "auto",
    gate_rules: GateRulesOption = None,
    experiment: ExperimentOption = EXPERIMENT,
    pipeline: PipelineOption = PIPELINE,
    name: Annotated[str | None, typer.Option(help="Of the run.", show_default="pipeline and time")] = None,
    pipeline_root: PipelineRootOption = None,
    service_account: ServiceAccountOption = None,
    image_repository: ImageRepositoryOption = None,
    image_tag: ImageTagOption = None,
    image_digest: ImageDigestOption = None,
    profile: ProfileOption = None,
    endpoint: EndpointOption = None,
    namespace: NamespaceOption = None,
    wait: WaitOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent, and ask no server.")] = False,
) -> None:
    """Start a run on a cluster.

    The pipeline is compiled and uploaded if the server has not got these bytes; the data are fixed to what they are
    now. Credentials come from the environment: KF_PIPELINES_TOKEN, KF_PIPELINES_TOKEN_FILE, KF_PIPELINES_COOKIES.

    Examples:
        python -m pipelines submit --endpoint http://localhost:8080 --data gs://bucket/plays --wait

        python -m pipelines submit --data gs://bucket/plays --image-repository registry.example/team/ur4rec --dry-run
    """
    from pipelines.cluster.connection import connect
    from pipelines.cluster.package import compile_package
    from pipelines.cluster.parameters import build_parameters, read_cluster_config, require_inputs
    from pipelines.cluster.submission import Placement, Submission, stamp_now, submit
    from pipelines.image_names import read_images

    inputs = require_inputs(data, tracking_uri, items, item_text, user_text, device, state, gate_rules)
    read = read_cluster_config(config or DEFAULT_CONFIG, tuple(settings or ()), inputs.data)
    submission = Submission(
        package=compile_package(read_images(image_repository, image_tag, image_digest), profile),
        parameters=build_parameters(read, inputs, scheduled=False),
        placement=Placement(experiment, pipeline, pipeline_root, service_account),
        name=name or f"{pipeline} {stamp_now()}",
    )
    if dry_run:
        submission.package.check(submission.parameters)
        typer.echo(json.dumps(submission.describe(), indent=2, ensure_ascii=False))
        return
    cluster = connect(endpoint, namespace)
    run, version = submit(cluster, submission)
    show(f"version: {version.name} of {pipeline}, {'uploaded' if version.is_new else 'there already'}")
    for image in submission.package.images:
        show(f"image:   {image}{'' if '@sha256:' in image else ' (by tag; pin it with --image-digest)'}")
    show(f"run:     {run.run_id}")
    show(f"page:    {cluster.run_url(run.run_id)}")
    if wait:
        raise typer.Exit(_follow(cluster, run.run_id))
    show(f"follow:  python -m pipelines status {run.run_id} --wait")


def status(
    run_id: RunArgument, endpoint: EndpointOption = None, namespace: NamespaceOption = None, wait: WaitOption = False
) -> None:
    """Show how a run and its tasks stand; the exit code is 1 if it ended otherwise than well.

    Example:
        python -m pipelines status RUN_ID --wait
    """
    from pipelines.cluster.connection import connect
    from pipelines.cluster.status import RunReader, require_run_id
    from pipelines.cluster.tables import show_status

    cluster = connect(endpoint, namespace)
    if wait:
        raise typer.Exit(_follow(cluster, require_run_id(run_id)))
    found = RunReader(cluster, require_run_id(run_id)).status
    show_status(found, cluster)
    raise typer.Exit(_exit_code(found))


def watch(run_id: RunArgument, endpoint: EndpointOption = None, namespace: NamespaceOption = None) -> None:
    """Follow a run to its end: `status --wait`.

    Example:
        python -m pipelines watch RUN_ID
    """
    status(run_id, endpoint, namespace, wait=True)


def logs(
    run_id: RunArgument,
    task: Annotated[str | None, typer.Option(help="One task, by its name or title.", show_default="all")] = None,
    endpoint: EndpointOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Show the errors of a run's tasks, and the kubectl commands that print the logs: the API has none.

    Example:
        python -m pipelines logs RUN_ID --task evaluate
    """
    from pipelines.cluster.connection import connect
    from pipelines.cluster.status import RunReader, require_run_id
    from pipelines.cluster.tables import show_logs

    cluster = connect(endpoint, namespace)
    found = RunReader(cluster, require_run_id(run_id)).status
    wanted = [one for one in found.tasks if task is None or task.lower() in (one.name, one.title.lower())]
    if task is not None and not wanted:
        names = ", ".join(one.name for one in found.tasks)
        raise OptionError(f"--task {task}: the run has no such task; it has {names}")
    show_logs(found, wanted, cluster)


def _follow(cluster: Cluster, run_id: str) -> int:
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
