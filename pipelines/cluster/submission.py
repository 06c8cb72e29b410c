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

from pipelines.arguments import build_arguments, read_run_config
from pipelines.cluster.connection import REQUEST_TIMEOUT_S, Cluster
from pipelines.cluster.package import Package, Version, compile_package, ensure_version, filter_by_name, take_one
from pipelines.compilation import read_images
from pipelines.inputs import check_locations, require_inputs
from pipelines.options import DEFAULT_CONFIG, ClusterOptions, ImageOptions, PlaceOptions, PodOptions


@dataclass(frozen=True)
class Submission:
    """A run before it is sent."""

    package: Package
    parameters: Mapping[str, Any]
    place: PlaceOptions
    pods: PodOptions
    name: str

    def describe(self) -> dict[str, Any]:
        """What would be sent; ids are known to the server alone."""
        version = Version("(found or made)", "(found or uploaded)", self.package.version_name)
        request = build_run(self, version, "(found or made)")
        return {
            "experiment": self.place.experiment,
            "pipeline": self.place.pipeline,
            "version": self.package.version_name,
            "sha256": self.package.digest,
            "images": self.package.images,
            "run": ApiClient().sanitize_for_serialization(request),
        }


def prepare(run: ClusterOptions, images: ImageOptions, scheduled: bool) -> tuple[Package, dict[str, Any]]:
    """Compile the pipeline and build its parameters; both are checked, and no server is asked.

    Args:
        run: What to run.
        images: How to compile.
        scheduled: The run finds out what the data are; else this is done now, so their bucket must be readable.

    Raises:
        ValueError: Typed: a setting, a place, an image or a profile cannot be used.
    """
    inputs = require_inputs(run)
    config = read_run_config(run.config or DEFAULT_CONFIG, run.settings or (), inputs.interactions)
    check_locations(config, inputs)
    parameters = build_arguments(config, inputs, scheduled)
    package = compile_package(read_images(images), images.profile)
    package.check(parameters)
    return package, parameters


def stamp_now() -> str:
    """The time, for the names of runs."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


def submit(cluster: Cluster, submission: Submission) -> tuple[V2beta1Run, Version]:
    """Finds or makes the experiment and the pipeline version, and starts the run.

    Raises:
        ClusterError: The server cannot be asked or refuses.
    """
    version = ensure_version(cluster, submission.place.pipeline, submission.package)
    experiment_id = ensure_experiment(cluster, submission.place.experiment)
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
    return V2beta1Run(
        experiment_id=experiment_id,
        display_name=submission.name,
        pipeline_version_reference=V2beta1PipelineVersionReference(
            pipeline_id=version.pipeline_id, pipeline_version_id=version.version_id
        ),
        runtime_config=V2beta1RuntimeConfig(
            parameters=dict(submission.parameters), pipeline_root=submission.pods.pipeline_root
        ),
        service_account=submission.pods.service_account,
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
