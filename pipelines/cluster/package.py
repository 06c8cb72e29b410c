"""The compiled pipeline as it is sent to a server, and its versions there: equal bytes are uploaded once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from kfp_server_api import V2beta1Pipeline

from pipelines.cluster.connection import REQUEST_TIMEOUT_S, Cluster, ClusterError
from pipelines.compilation import ImageNames, compile_pipeline
from ur4rec import __version__
from ur4rec.storage.temporaries import scratch_folder

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
"""What the types of a compiled pipeline are here."""


class ParameterError(ValueError):
    """A parameter that the compiled pipeline does not take as it is."""


@dataclass(frozen=True)
class Package:
    """A compiled pipeline.

    Args:
        content: The YAML file.
    """

    content: bytes

    @cached_property
    def specification(self) -> dict[str, Any]:
        """The first document of the file."""
        found: dict[str, Any] = next(yaml.safe_load_all(self.content))
        return found

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
        executors = self.specification["deploymentSpec"]["executors"].values()
        return sorted({executor["container"]["image"] for executor in executors if "container" in executor})

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Compares parameters with those that the pipeline takes.

        Raises:
            ParameterError: One is missing, unknown or of another type.
        """
        expected = self.specification["root"].get("inputDefinitions", {}).get("parameters", {})
        for name in sorted(set(parameters) - set(expected)):
            raise ParameterError(f"{name}: the compiled pipeline has no such parameter; it has {', '.join(expected)}")
        for name, definition in expected.items():
            _check_parameter(name, definition, parameters)


def compile_package(images: ImageNames, profile: str | None) -> Package:
    """Compiles the pipeline as `compile` does.

    Raises:
        ConfigError: There is no such profile, or it is wrong.
    """
    with scratch_folder("package") as folder:
        file = Path(folder, "pipeline.yaml")
        compile_pipeline(file, images, profile)
        return Package(file.read_bytes())


@dataclass(frozen=True)
class Version:
    """A version of a pipeline on the server."""

    pipeline_id: str
    version_id: str
    name: str
    is_new: bool = False
    """Whether it was uploaded just now."""


def filter_by_name(name: str) -> str:
    """The filter of a listing for one display name."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "string_value": name}]})


def take_one(found: list[Any] | None, what: str) -> Any | None:
    """The only one of a listing; None where there is none.

    Raises:
        ClusterError: There are several.
    """
    if found and len(found) > 1:
        raise ClusterError(f"{what}: {len(found)} have this name; rename or delete all but one in the web interface")
    return found[0] if found else None


def find_pipeline(cluster: Cluster, name: str) -> str | None:
    """Id of a pipeline.

    Raises:
        ClusterError: The server cannot be asked, or has several of this name.
    """
    what = f"pipeline {name!r}"
    with cluster.asking(what):
        answer = cluster.client.pipelines.pipeline_service_list_pipelines(
            namespace=cluster.namespace, filter=filter_by_name(name), _request_timeout=REQUEST_TIMEOUT_S
        )
    pipeline = take_one(answer.pipelines, what)
    return None if pipeline is None else str(pipeline.pipeline_id)


def ensure_version(cluster: Cluster, pipeline_name: str, package: Package) -> Version:
    """The version with these very bytes, uploaded where the server has none.

    Raises:
        ClusterError: The server cannot be asked or refuses the pipeline.
    """
    pipeline_id = find_pipeline(cluster, pipeline_name) or _create_pipeline(cluster, pipeline_name)
    return ensure_version_of(cluster, pipeline_id, package)


def ensure_version_of(cluster: Cluster, pipeline_id: str, package: Package) -> Version:
    """The same of a pipeline whose id is known.

    Raises:
        ClusterError: The server cannot be asked or refuses the pipeline.
    """
    return _find_version(cluster, pipeline_id, package) or _upload_version(cluster, pipeline_id, package)


def find_latest(cluster: Cluster, pipeline_id: str) -> Version:
    """The version that was uploaded last.

    Raises:
        ClusterError: The server cannot be asked, or the pipeline has no version.
    """
    what = f"versions of pipeline {pipeline_id}"
    with cluster.asking(what):
        answer = cluster.client.pipelines.pipeline_service_list_pipeline_versions(
            pipeline_id, page_size=1, sort_by="created_at desc", _request_timeout=REQUEST_TIMEOUT_S
        )
    if not answer.pipeline_versions:
        raise ClusterError(f"{what}: there is none; upload one with `python -m pipelines submit`")
    latest = answer.pipeline_versions[0]
    return Version(pipeline_id, latest.pipeline_version_id, latest.display_name)


def _check_parameter(name: str, definition: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    kind = definition["parameterType"]
    if name not in parameters:
        if definition.get("isOptional"):
            return
        raise ParameterError(f"{name}: missing; the compiled pipeline expects a {kind}")
    value = parameters[name]
    if not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "BOOLEAN"):
        raise ParameterError(f"{name}: expected a {kind}, got {value!r}")


def _find_version(cluster: Cluster, pipeline_id: str, package: Package) -> Version | None:
    with cluster.asking(f"version {package.version_name}"):
        answer = cluster.client.pipelines.pipeline_service_list_pipeline_versions(
            pipeline_id, filter=filter_by_name(package.version_name), _request_timeout=REQUEST_TIMEOUT_S
        )
    for version in answer.pipeline_versions or []:
        if version.description == DIGEST_PREFIX + package.digest:
            return Version(pipeline_id, version.pipeline_version_id, version.display_name)
    return None


def _create_pipeline(cluster: Cluster, name: str) -> str:
    """Without a version: the one that comes with the upload of a pipeline would not be named by its bytes."""
    with cluster.asking(f"pipeline {name!r}"):
        pipeline = cluster.client.pipelines.pipeline_service_create_pipeline(
            V2beta1Pipeline(display_name=name, namespace=cluster.namespace), _request_timeout=REQUEST_TIMEOUT_S
        )
    return str(pipeline.pipeline_id)


def _upload_version(cluster: Cluster, pipeline_id: str, package: Package) -> Version:
    with scratch_folder("upload") as folder:
        file = Path(folder, "pipeline.yaml")
        file.write_bytes(package.content)
        with cluster.asking(f"version {package.version_name}"):
            version = cluster.client.pipeline_uploads.upload_pipeline_version(
                str(file),
                name=package.version_name,
                pipelineid=pipeline_id,
                description=DIGEST_PREFIX + package.digest,
                _request_timeout=REQUEST_TIMEOUT_S,
            )
    return Version(pipeline_id, str(version.pipeline_version_id), package.version_name, is_new=True)
