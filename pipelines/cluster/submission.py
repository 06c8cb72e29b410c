"""Starts one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kfp_server_api import (
    ApiClient,
    V2beta1PipelineVersionReference,
    V2beta1Run,
    V2beta1RuntimeConfig,
)

from pipelines.arguments import build_arguments, read_run_config
from pipelines.cluster.connection import Cluster
from pipelines.cluster.package import Package, Version, compile_package, ensure_experiment, ensure_version
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

    def to_request(self, version: Version, experiment_id: str) -> V2beta1Run:
        """Return the run as the server takes it."""
        return V2beta1Run(
            experiment_id=experiment_id,
            display_name=self.name,
            pipeline_version_reference=V2beta1PipelineVersionReference(
                pipeline_id=version.pipeline_id, pipeline_version_id=version.version_id
            ),
            runtime_config=V2beta1RuntimeConfig(
                parameters=dict(self.parameters), pipeline_root=self.pods.pipeline_root
            ),
            service_account=self.pods.service_account,
        )

    def describe(self) -> dict[str, Any]:
        """Return what would be sent; ids are known to the server alone."""
        version = Version("(found or made)", "(found or uploaded)", self.package.version_name)
        request = self.to_request(version, "(found or made)")
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
    """Find or make the experiment and the pipeline version, and start the run."""
    version = ensure_version(cluster, submission.place.pipeline, submission.package)
    experiment_id = ensure_experiment(cluster, submission.place.experiment)
    return start_run(cluster, submission.to_request(version, experiment_id)), version


def start_run(cluster: Cluster, request: V2beta1Run) -> Any:
    """Send a run; return it as the server has it."""
    return cluster.ask(f"new run {request.display_name!r}", cluster.client.runs.run_service_create_run, request)
