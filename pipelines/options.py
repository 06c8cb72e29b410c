"""Options that several commands have, and their defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_CONFIG = "ur4rec_moe_100k"
EXPERIMENT = "ur4rec"
PIPELINE = "ur4rec-training"

EndpointOption = Annotated[
    str | None,
    typer.Option(help="Address of Kubeflow Pipelines; else KF_PIPELINES_ENDPOINT.", show_default=False),
]
NamespaceOption = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Yours, where users share it; else KF_PIPELINES_NAMESPACE."),
]

GateRulesOption = Annotated[
    Path | None,
    typer.Option(help="YAML file of the gate's rules that differ from the shipped ones.", dir_okay=False),
]

ImageRepositoryOption = Annotated[
    str | None, typer.Option(help="Where the images are, such as registry.example/team/ur4rec.")
]
ImageTagOption = Annotated[
    str | None, typer.Option(help="Of the images, without -slim and -train-cpu; else the version.")
]
ImageDigestOption = Annotated[
    list[str] | None,
    typer.Option(help="Pins an image to its bytes; may be repeated.", metavar="TARGET=sha256:…"),
]
ProfileOption = Annotated[
    str | None, typer.Option(help="Resources: cpu-small, gpu (with the image train-gpu), toy, or a YAML file.")
]

ClusterConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        help="YAML file of settings, or a shipped one: toy, ur4rec_moe_100k.",
        show_default=False,
    ),
]
CloudDataOption = Annotated[
    str | None, typer.Option(help="Interactions: gs://bucket/… of a CSV or Parquet file, or of a folder.")
]
CloudItemsOption = Annotated[str | None, typer.Option(help="Item table below gs://; else the one beside the data.")]
CloudItemTextOption = Annotated[str | None, typer.Option(help="Item texts that exist already; gs:// of a JSON file.")]
CloudUserTextOption = Annotated[
    str | None, typer.Option(help="User texts that exist already; gs:// of a JSON or Parquet file.")
]
CloudStateOption = Annotated[str | None, typer.Option(help="gs://bucket/prefix of unfinished stages; else none.")]
ClusterDeviceOption = Annotated[str | None, typer.Option(help="auto, cpu or cuda.", show_default=False)]
ClusterTrackingOption = Annotated[
    str | None,
    typer.Option(help="MLflow's address as pods see it; else MLFLOW_TRACKING_URI.", show_default=False),
]

ExperimentOption = Annotated[str, typer.Option(help="Experiment of Kubeflow; made if need be.")]
PipelineOption = Annotated[str, typer.Option(help="Name of the pipeline there; made if need be.")]
PipelineRootOption = Annotated[
    str | None, typer.Option(help="Where artifacts go, such as gs://bucket/root; else the server's place.")
]
ServiceAccountOption = Annotated[str | None, typer.Option(help="Of the pods; else the server's.")]

RunArgument = Annotated[str, typer.Argument(help="Id of the run, as `submit` prints it.", metavar="RUN_ID")]
ScheduleArgument = Annotated[str, typer.Argument(help="Name or id of the schedule.", metavar="SCHEDULE")]
CronOption = Annotated[
    str | None,
    typer.Option(help="Six fields, seconds first: '0 0 3 * * *' is 3:00 every day. Or @daily, @hourly, …"),
]
EveryOption = Annotated[str | None, typer.Option(help="Interval instead: 6h, 90m, 1d.")]
TimeZoneOption = Annotated[
    str,
    typer.Option(
        help="That of the server's scheduler, in which the fields are read: its CRON_SCHEDULE_TIMEZONE.",
        envvar="KF_PIPELINES_TIME_ZONE",
    ),
]
