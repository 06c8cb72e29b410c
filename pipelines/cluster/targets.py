"""Who runs the pipeline: Kubeflow Pipelines, or Vertex AI Pipelines of Google Cloud."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.options import ServerOptions
from ur4rec.commands.console import OptionError

if TYPE_CHECKING:
    from pipelines.cluster.connection import Cluster
    from pipelines.cluster.vertex import Vertex


class Target(StrEnum):
    """Who runs the pipeline."""

    KUBEFLOW = "kubeflow"
    VERTEX = "vertex"


@dataclass(frozen=True)
class TargetOptions:
    """Who runs the pipeline, and where that is on Google Cloud."""

    target: Annotated[
        Target, typer.Option(help="Kubeflow Pipelines, or Vertex AI Pipelines of --project and --region.")
    ] = Target.KUBEFLOW
    project: Annotated[
        str | None,
        typer.Option(help="Of Google Cloud, for vertex; else GOOGLE_CLOUD_PROJECT.", show_default=False),
    ] = None
    region: Annotated[
        str | None,
        typer.Option(help="Such as europe-west4, for vertex; else GOOGLE_CLOUD_LOCATION.", show_default=False),
    ] = None

    @property
    def is_vertex(self) -> bool:
        """Whether Vertex AI is asked; refuses a place on Google Cloud where it is not.

        Raises:
            OptionError: There is such a place.
        """
        if self.target is Target.KUBEFLOW and (self.project or self.region):
            raise OptionError("--project, --region: belong to --target vertex")
        return self.target is Target.VERTEX

    def connect(self) -> Vertex:
        """Return Vertex AI; nothing is asked yet.

        Raises:
            ClusterError: Project, region or credentials are missing.
        """
        from pipelines.cluster.vertex import connect_vertex

        return connect_vertex(self.project, self.region)


def is_on_vertex(run_id: str) -> bool:
    """Whether a run is one of Vertex AI, whose ids say where they are."""
    return run_id.startswith("projects/")


def connect_for(server: ServerOptions, run_id: str) -> Cluster | Vertex:
    """Return the server that has a run; the id of one of Vertex AI says where that is.

    Raises:
        ClusterError: It does not answer, or credentials are missing.
    """
    if not is_on_vertex(run_id):
        return server.connect()
    from pipelines.cluster.vertex import connect_vertex_of

    return connect_vertex_of(run_id)
