"""Options of the commands, each written once: a group of them is a dataclass that a command takes as one parameter."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ur4rec.commands.console import DeviceOption, SetOption

if TYPE_CHECKING:
    from pipelines.cluster.connection import Cluster


GateRulesOption = Annotated[
    Path | None,
    typer.Option(help="YAML file of the gate's rules that differ from the shipped ones.", dir_okay=False),
]
CONFIG_HELP = "YAML file of settings, or a shipped one: auto, toy, ur4rec_moe_100k."


class Runner(StrEnum):
    """What a task of a local run is."""

    PROCESS = "process"
    DOCKER = "docker"


@dataclass(frozen=True)
class RunOptions:
    """What is run on this machine, and where."""

    config: Annotated[
        str | None,
        typer.Option("--config", "-c", help=CONFIG_HELP, show_default="ur4rec_moe_100k for ml-100k, else auto"),
    ] = None
    data: Annotated[
        str | None,
        typer.Option(
            help="ml-100k, ml-1m, a CSV or Parquet file, a folder, or gs:// or s3://.", show_default="ml-100k"
        ),
    ] = None
    items: Annotated[
        str | None, typer.Option(help="Item table: item_id, title, genres, description; a file, gs:// or s3://.")
    ] = None
    item_text: Annotated[str | None, typer.Option(help="Item texts that exist already; a file, gs:// or s3://.")] = None
    user_text: Annotated[str | None, typer.Option(help="User texts that exist already; a file, gs:// or s3://.")] = None
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", help="Gets the trained files, results and report.", file_okay=False)
    ] = Path("outputs/ur4rec_moe")
    pipeline_root: Annotated[
        Path, typer.Option(help="Keeps the artifacts of all runs, and the cache.", file_okay=False)
    ] = Path("outputs/pipeline_root")
    device: DeviceOption = "auto"
    runner: Annotated[
        Runner, typer.Option(help="Tasks as processes of this environment, or in the containers of `make images`.")
    ] = Runner.PROCESS
    state: Annotated[
        str | None,
        typer.Option(
            help="Folder, or gs:// or s3://bucket/prefix, where unfinished stages keep their state.",
            show_default="in PIPELINE_ROOT",
        ),
    ] = None
    gate_rules: GateRulesOption = None
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every task, whatever ran before.")] = False
    settings: SetOption = None


@dataclass(frozen=True)
class ClusterOptions:
    """What runs on a cluster are made from; None: the default, or in a schedule that is changed what it has."""

    data: Annotated[
        str | None,
        typer.Option(help="Interactions: gs://bucket/… or s3://bucket/… of a CSV or Parquet file, or of a folder."),
    ] = None
    items: Annotated[
        str | None, typer.Option(help="Item table below gs:// or s3://; else the one beside the data.")
    ] = None
    item_text: Annotated[
        str | None, typer.Option(help="Item texts that exist already; gs:// or s3:// of a JSON file.")
    ] = None
    user_text: Annotated[
        str | None, typer.Option(help="User texts that exist already; gs:// or s3:// of a JSON or Parquet file.")
    ] = None
    config: Annotated[str | None, typer.Option("--config", "-c", help=CONFIG_HELP)] = None
    settings: SetOption = None
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            help="MLflow's address as pods see it; else MLFLOW_TRACKING_URI, else the cluster's.", show_default=False
        ),
    ] = None
    state: Annotated[
        str | None,
        typer.Option(
            help="gs:// or s3://bucket/prefix of unfinished stages; else state/ of --pipeline-root, else the cluster's."
        ),
    ] = None
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None
    gate_rules: GateRulesOption = None


@dataclass(frozen=True)
class PlaceOptions:
    """Under which names runs appear on a cluster."""

    experiment: Annotated[str, typer.Option(help="Experiment of Kubeflow; made if need be.")] = "ur4rec"
    pipeline: Annotated[str, typer.Option(help="Name of the pipeline there; made if need be.")] = "ur4rec-training"


@dataclass(frozen=True)
class PodOptions:
    """Where artifacts go, and who the pods are."""

    pipeline_root: Annotated[
        str | None, typer.Option(help="Where artifacts go, gs:// or s3://bucket/root; else the server's place.")
    ] = None
    service_account: Annotated[str | None, typer.Option(help="Of the pods; else the server's.")] = None


@dataclass(frozen=True)
class ImageOptions:
    """How the pipeline is compiled."""

    image_repository: Annotated[
        str | None, typer.Option(help="Where the images are, such as registry.example/team/ur4rec.")
    ] = None
    image_tag: Annotated[
        str | None, typer.Option(help="Of the images, without -slim and -train-cpu; else the version.")
    ] = None
    image_digest: Annotated[
        list[str] | None, typer.Option(help="Pins an image to its bytes; may be repeated.", metavar="TARGET=sha256:…")
    ] = None
    profile: Annotated[
        str | None, typer.Option(help="Resources: cpu-small, gpu (with the image train-gpu), toy, or a YAML file.")
    ] = None
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every task, whatever ran before.")] = False


@dataclass(frozen=True)
class ServerOptions:
    """Which server is asked."""

    endpoint: Annotated[
        str | None, typer.Option(help="Address of Kubeflow Pipelines; else KF_PIPELINES_ENDPOINT.", show_default=False)
    ] = None
    namespace: Annotated[
        str | None,
        typer.Option("--namespace", "-n", help="Yours, where users share it; else KF_PIPELINES_NAMESPACE."),
    ] = None

    def connect(self) -> Cluster:
        """Return the server, which has answered.

        Raises:
            ClusterError: There is no address, or what is there does not answer as KFP does.
        """
        from pipelines.cluster.connection import connect

        return connect(self.endpoint, self.namespace)


@dataclass(frozen=True)
class TimeOptions:
    """When a schedule starts runs."""

    cron: Annotated[
        str | None,
        typer.Option(help="Six fields, seconds first: '0 0 3 * * *' is 3:00 every day. Or @daily, @hourly, …"),
    ] = None
    every: Annotated[str | None, typer.Option(help="Interval instead: 6h, 90m, 1d.")] = None
    end: Annotated[
        str | None, typer.Option(help="No runs later than this: 2027-01-31, or 2027-01-31T18:00, in --time-zone.")
    ] = None


RunArgument = Annotated[str, typer.Argument(help="Id of the run, as `submit` and `runs` print it.", metavar="RUN_ID")]
ScheduleArgument = Annotated[str, typer.Argument(help="Name or id of the schedule.", metavar="SCHEDULE")]
TimeZoneOption = Annotated[
    str,
    typer.Option(
        help="That of the server's scheduler, in which the fields are read: its CRON_SCHEDULE_TIMEZONE.",
        envvar="KF_PIPELINES_TIME_ZONE",
    ),
]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take dataclasses, whose fields typer sees as options in the place of the dataclass."""
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    groups = {each.name: each.annotation for each in parameters if _is_group(each)}

    @wraps(command)
    def call(**options: Any) -> None:
        for name, group in groups.items():
            options[name] = group(**{field.name: options.pop(field.name) for field in fields(group)})
        command(**options)

    flat = [option for each in parameters for option in _flatten(each)]
    call.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    call.__annotations__ = {option.name: option.annotation for option in flat}
    return call


def _is_group(parameter: inspect.Parameter) -> bool:
    return is_dataclass(parameter.annotation)


def _flatten(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    """Return the fields of a dataclass, or the parameter itself; all by keyword, so that their order is free."""
    found = [parameter]
    if _is_group(parameter):
        found = list(inspect.signature(parameter.annotation, eval_str=True).parameters.values())
    return [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in found]
