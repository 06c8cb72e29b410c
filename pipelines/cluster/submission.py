"""Starts one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kfp_server_api import (
    ApiClient,
    V2beta1Experiment,
    V2beta1PipelineVersionReference,
    V2beta1Run,
    V2beta1RuntimeConfig,
)

from pipelines.cluster.connection import REQUEST_TIMEOUT_S, Cluster
from pipelines.cluster.package import Package, Version, ensure_version, filter_by_name, take_one


@dataclass(frozen=True)
class Placement:
    """Under which names a run appears, and where its artifacts go."""

    experiment: str
    pipeline: str
    pipeline_root: str | None = None
    service_account: str | None = None


@dataclass(frozen=True)
class Submission:
    """A run before it is sent."""

    package: Package
    parameters: Mapping[str, Any]
    placement: Placement
    name: str

    def describe(self) -> dict[str, Any]:
        """What would be sent; ids are known to the server alone."""
        version = Version("(found or made)", "(found or uploaded)", self.package.version_name)
        request = build_run(self, version, "(found or made)")
        return {
            "experiment": self.placement.experiment,
            "pipeline": self.placement.pipeline,
            "version": self.package.version_name,
            "sha256": self.package.digest,
            "images": self.package.images,
            "run": ApiClient().sanitize_for_serialization(request),
        }


def stamp_now() -> str:
    """The time, for the names of runs."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


def submit(cluster: Cluster, submission: Submission) -> tuple[V2beta1Run, Version]:
    """Finds or makes the experiment and the pipeline version, and starts the run.

    Raises:
        ParameterError: The parameters do not fit the compiled pipeline.
        ClusterError: The server cannot be asked or refuses.
    """
    submission.package.check(submission.parameters)
    placement = submission.placement
    version = ensure_version(cluster, placement.pipeline, submission.package)
    experiment_id = ensure_experiment(cluster, placement.experiment)
    return start_run(cluster, build_run(submission, version, experiment_id)), version


def start_run(cluster: Cluster, request: V2beta1Run) -> V2beta1Run:
    """Sends a run.

    Raises:
        ClusterError: The server cannot be asked or refuses.
    """
    with cluster.asking(f"new run {request.display_name!r}"):
        return cluster.client.runs.run_service_create_run(request, _request_timeout=REQUEST_TIMEOUT_S)


def build_run(submission: Submission, version: Version, experiment_id: str) -> V2beta1Run:
    """The request."""
    placement = submission.placement
    return V2beta1Run(
        experiment_id=experiment_id,
        display_name=submission.name,
        pipeline_version_reference=V2beta1PipelineVersionReference(
            pipeline_id=version.pipeline_id, pipeline_version_id=version.version_id
        ),
        runtime_config=V2beta1RuntimeConfig(
            parameters=dict(submission.parameters), pipeline_root=placement.pipeline_root
        ),
        service_account=placement.service_account,
    )


def ensure_experiment(cluster: Cluster, name: str) -> str:
    """Id of the experiment, made if need be.

    Raises:
        ClusterError: The server cannot be asked, or has several of this name.
    """
    what = f"experiment {name!r}"
    with cluster.asking(what):
        answer = cluster.client.experiments.experiment_service_list_experiments(
            namespace=cluster.namespace, filter=filter_by_name(name), _request_timeout=REQUEST_TIMEOUT_S
        )
    found = take_one(answer.experiments, what)
    if found is not None:
        return str(found.experiment_id)
    with cluster.asking(what):
        made = cluster.client.experiments.experiment_service_create_experiment(
            V2beta1Experiment(display_name=name, namespace=cluster.namespace), _request_timeout=REQUEST_TIMEOUT_S
        )
    return str(made.experiment_id)
