"""The compiled pipeline as it is sent to a server, its versions there, and one run of it: equal bytes go there once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from kfp_server_api import (
    ApiClient,
    V2beta1Experiment,
    V2beta1Pipeline,
    V2beta1PipelineVersionReference,
    V2beta1Run,
    V2beta1RuntimeConfig,
)

from pipelines.arguments import build_arguments
from pipelines.cluster.connection import Cluster
from pipelines.cluster.failures import ClusterError
from pipelines.compilation import compile_training
from pipelines.inputs import check_locations, require_inputs
from pipelines.options import ClusterOptions, ImageOptions, PlaceOptions, PodOptions
from pipelines.resources import Profile, load_profile
from ur4rec import __version__
from ur4rec.commands.console import read_config
from ur4rec.storage.temporaries import scratch_folder

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
STATE_FOLDER = "state"
UNCACHED = "-uncached"
"""Ends the name of a pipeline whose versions take nothing from the cache: none is the latest of another pipeline."""
DIGEST_PREFIX = "sha256:"
DIGEST_DIGITS = 16
KINDS: dict[str, tuple[type, ...]] = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "STRUCT": (dict,),
    "LIST": (list,),
}
"""Type in a compiled pipeline → types of Python."""


class ParameterError(ValueError):
    """A parameter that the compiled pipeline does not take as it is."""


@dataclass(frozen=True)
class Package:
    """A compiled pipeline, as the bytes of its file."""

    content: bytes

    @cached_property
    def _documents(self) -> list[Any]:
        return list(yaml.load_all(self.content, LOADER))

    @property
    def specification(self) -> dict[str, Any]:
        """The first document of the file."""
        found: dict[str, Any] = self._documents[0]
        return found

    @property
    def platform(self) -> dict[str, dict[str, Any]]:
        """Executor → what Kubernetes alone knows of it: the second document."""
        found: dict[str, dict[str, Any]] = self._documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        return found

    @property
    def executors(self) -> dict[str, dict[str, Any]]:
        """Everything that runs in a container, by its label."""
        return {
            label: executor
            for label, executor in self.specification["deploymentSpec"]["executors"].items()
            if "container" in executor
        }

    @property
    def pipeline_name(self) -> str:
        """Name of the pipeline within the file."""
        return str(self.specification["pipelineInfo"]["name"])

    @property
    def digest(self) -> str:
        """sha256 of the bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def version_name(self) -> str:
        """Version of the software and the digest's first digits, so that equal bytes have one name."""
        return f"{__version__}-{self.digest[:DIGEST_DIGITS]}"

    @property
    def images(self) -> list[str]:
        """Every image that a task runs in."""
        return sorted({executor["container"]["image"] for executor in self.executors.values()})

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Compare parameters with those that the pipeline takes.

        Raises:
            ParameterError: One is missing, unknown or of another type.
        """
        expected = self.specification["root"].get("inputDefinitions", {}).get("parameters", {})
        for name in sorted(set(parameters) - set(expected)):
            raise ParameterError(f"{name}: the compiled pipeline has no such parameter; it has {', '.join(expected)}")
        for name, definition in expected.items():
            _check_parameter(name, definition, parameters)


@dataclass(frozen=True)
class Version:
    """A version of a pipeline on the server."""

    pipeline_id: str
    version_id: str
    name: str
    is_new: bool = False
    """Whether it was uploaded just now."""


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


def prepare(
    run: ClusterOptions, images: ImageOptions, pods: PodOptions, scheduled: bool
) -> tuple[Package, dict[str, Any]]:
    """Compile the pipeline and build its parameters; both are checked, and no server is asked.

    Args:
        run: What to run.
        images: How to compile.
        pods: Where artifacts go, and the state of unfinished stages with them, unless it has a place of its own.
        scheduled: The run finds out what the data are; else this is done now, so their bucket must be readable.

    Raises:
        ValueError: Typed: a setting, a place, an image or a profile cannot be used.
    """
    inputs = require_inputs(run)
    root = pods.pipeline_root or ""
    if not inputs.state and _is_open(root, load_profile(images.profile)):
        inputs = replace(inputs, state=f"{root.rstrip('/')}/{STATE_FOLDER}")
    config = read_config(Path(run.config) if run.config else None, run.settings)
    package = Package(compile_training(images))
    check_locations(config, inputs)
    parameters = build_arguments(config, inputs, scheduled)
    package.check(parameters)
    return package, parameters


def name_pipeline(name: str, images: ImageOptions) -> str:
    """Return the name of the pipeline that a version goes to."""
    return name + UNCACHED if images.no_cache and not name.endswith(UNCACHED) else name


def stamp_now() -> str:
    """Return the time, for the names of runs."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


def filter_by_name(name: str) -> str:
    """Return the filter of a listing for one display name."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "string_value": name}]})


def ensure_experiment(cluster: Cluster, name: str) -> str:
    """Return the id of an experiment, made if need be."""
    experiments, body = cluster.client.experiments, V2beta1Experiment(display_name=name, namespace=cluster.namespace)
    find, make = experiments.experiment_service_list_experiments, experiments.experiment_service_create_experiment
    return _ensure_one(cluster, "experiment", body, find, make)


def ensure_version(cluster: Cluster, pipeline_name: str, package: Package) -> Version:
    """Return the version with these very bytes, uploaded where the server has none.

    A pipeline is made without a version: the one that comes with its upload would not be named by its bytes.
    """
    pipelines, body = cluster.client.pipelines, V2beta1Pipeline(display_name=pipeline_name, namespace=cluster.namespace)
    find, make = pipelines.pipeline_service_list_pipelines, pipelines.pipeline_service_create_pipeline
    return ensure_version_of(cluster, _ensure_one(cluster, "pipeline", body, find, make), package)


def ensure_version_of(cluster: Cluster, pipeline_id: str, package: Package) -> Version:
    """Return the same of a pipeline whose id is known."""
    name = package.version_name
    for version in _list_versions(cluster, f"version {name}", pipeline_id, filter=filter_by_name(name)):
        if version.description == DIGEST_PREFIX + package.digest:
            return Version(pipeline_id, version.pipeline_version_id, version.display_name)
    return _upload_version(cluster, pipeline_id, package)


def find_latest(cluster: Cluster, pipeline_id: str) -> Version:
    """Return the version that was uploaded last.

    Raises:
        ClusterError: The pipeline has none.
    """
    what = f"versions of pipeline {pipeline_id}"
    latest = _list_versions(cluster, what, pipeline_id, page_size=1, sort_by="created_at desc")
    if not latest:
        raise ClusterError(f"{what}: there is none; upload one with `python -m pipelines submit`")
    return Version(pipeline_id, latest[0].pipeline_version_id, latest[0].display_name)


def submit(cluster: Cluster, submission: Submission) -> tuple[V2beta1Run, Version]:
    """Find or make the experiment and the pipeline version, and start the run."""
    version = ensure_version(cluster, submission.place.pipeline, submission.package)
    experiment_id = ensure_experiment(cluster, submission.place.experiment)
    return start_run(cluster, submission.to_request(version, experiment_id)), version


def start_run(cluster: Cluster, request: V2beta1Run) -> Any:
    """Send a run; return it as the server has it."""
    return cluster.ask(f"new run {request.display_name!r}", cluster.client.runs.run_service_create_run, request)


def _is_open(root: str, profile: Profile) -> bool:
    """Return whether tasks can open the pipeline root by themselves; kfp's launcher has ways of its own into S3."""
    if root.startswith("minio://"):
        return bool(profile.s3_key_secret and "AWS_ENDPOINT_URL" in profile.environment)
    return root.startswith("gs://") or (root.startswith("s3://") and bool(profile.s3_key_secret))


def _check_parameter(name: str, definition: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    kind = definition["parameterType"]
    if name not in parameters:
        if definition.get("isOptional"):
            return
        raise ParameterError(f"{name}: missing; the compiled pipeline expects a {kind}")
    value = parameters[name]
    if not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "BOOLEAN"):
        raise ParameterError(f"{name}: expected a {kind}, got {value!r}")


def _ensure_one(cluster: Cluster, kind: str, body: Any, find: Callable[..., Any], make: Callable[..., Any]) -> str:
    """Return the id of the only thing of this kind and name, made if need be.

    Raises:
        ClusterError: There are several.
    """
    what = f"{kind} {body.display_name!r}"
    answer = cluster.ask(what, find, namespace=cluster.namespace, filter=filter_by_name(body.display_name))
    found = getattr(answer, f"{kind}s") or []
    if len(found) > 1:
        raise ClusterError(f"{what}: {len(found)} have this name; rename or delete all but one in the web interface")
    return str(getattr(found[0] if found else cluster.ask(what, make, body), f"{kind}_id"))


def _list_versions(cluster: Cluster, what: str, pipeline_id: str, **options: Any) -> list[Any]:
    listing = cluster.client.pipelines.pipeline_service_list_pipeline_versions
    return cluster.ask(what, listing, pipeline_id, **options).pipeline_versions or []


def _upload_version(cluster: Cluster, pipeline_id: str, package: Package) -> Version:
    with scratch_folder("upload") as folder:
        file = Path(folder, "pipeline.yaml")
        file.write_bytes(package.content)
        version = cluster.ask(
            f"version {package.version_name}",
            cluster.client.pipeline_uploads.upload_pipeline_version,
            str(file),
            name=package.version_name,
            pipelineid=pipeline_id,
            description=DIGEST_PREFIX + package.digest,
        )
    return Version(pipeline_id, str(version.pipeline_version_id), package.version_name, is_new=True)
