"""A run as Vertex AI Pipelines takes it: the compiled pipeline without what Kubernetes alone knows."""

from __future__ import annotations

import copy
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipelines.arguments import restore_config
from pipelines.cluster.failures import ClusterError
from pipelines.cluster.package import Package
from pipelines.options import PodOptions
from ur4rec.registry.environment import PIPELINE_RUN
from ur4rec.storage.stores import is_cloud

LEFT_OUT = {
    "securityContext": "security: a task is the user of its image",
    "podMetadata": "labels, annotations: there are no pods",
    "imagePullSecret": "image_pull_secrets: Vertex's service agent pulls images, from Artifact Registry",
    "activeDeadlineSeconds": "timeout_s: no task has a limit of its own",
    "emptyDirMounts": "shm_size: that of the machine",
    "nodeSelector": "node_selector: machines are chosen by CPUs, memory and GPUs",
    "tolerations": "tolerations: machines are chosen by CPUs, memory and GPUs",
    "nodeAffinity": "node_affinity: machines are chosen by CPUs, memory and GPUs",
    "secretAsEnv": "the secrets ur4rec-mlflow, ur4rec-text and ur4rec-webhook: MLflow has to let tasks in without a "
    "password, and nobody is notified",
    "configMapAsEnv": "the config map ur4rec-defaults: give --tracking-uri, and --state or --pipeline-root",
}
"""Key of a compiled pipeline for Kubernetes → what a run on Vertex does without."""
REFUSED = {
    "pvcMount": "volumes: Vertex mounts no persistent volume claims; name a public encoder, or put it into the image",
    "secretAsVolume": "gcs_key_secret: Vertex mounts no secrets; leave it out, the service account opens gs://",
    "secretAsEnv": "s3_key_secret: Vertex knows no secrets of a namespace; keep the data below gs://",
    "configMapAsVolume": "ca_config_map: Vertex mounts no config maps; put the authorities into the image",
}
"""The same → why a profile with it does not run there."""
REGISTRY = re.compile(r"[^/]+[.:][^/]*/.+")
LONGEST_NAME = 128
GPU_NAME = re.compile(r"[A-Z0-9_]+")


@dataclass(frozen=True)
class VertexJob:
    """A run before it is sent."""

    package: Package
    job_id: str
    body: dict[str, Any]
    """A `PipelineJob` of the API."""
    left_out: tuple[str, ...]
    """What the profile or the pipeline asks for and Vertex has not; a line each."""

    def describe(self) -> dict[str, Any]:
        """Return what would be sent, the compiled pipeline by its name."""
        body = {**self.body, "pipelineSpec": f"{self.package.pipeline_name} {self.package.version_name}"}
        return {"pipelineJobId": self.job_id, "pipelineJob": body, "without": list(self.left_out)}


def build_job(
    package: Package, parameters: Mapping[str, Any], pods: PodOptions, name: str, network: str | None
) -> VertexJob:
    """Return a run.

    Raises:
        ClusterError: Vertex cannot run it; says what to change.
    """
    for reason in (*_check_places(parameters, pods), *_check_package(package)):
        raise ClusterError(f"--target vertex: {reason}")
    job_id = f"{package.pipeline_name}-{datetime.now(UTC):%Y%m%d%H%M%S}-{secrets.token_hex(3)}"
    body = {
        "displayName": name[:LONGEST_NAME],
        "pipelineSpec": _name_run(package, job_id),
        "runtimeConfig": {"gcsOutputDirectory": pods.pipeline_root, "parameterValues": dict(parameters)},
        "serviceAccount": pods.service_account,
        "network": network,
    }
    left_out = (reason for key, reason in LEFT_OUT.items() if any(key in one for one in package.platform.values()))
    return VertexJob(package, job_id, {key: value for key, value in body.items() if value}, tuple(left_out))


def _check_places(parameters: Mapping[str, Any], pods: PodOptions) -> Iterator[str]:
    if not (pods.pipeline_root or "").startswith("gs://"):
        yield "needs --pipeline-root gs://bucket/root, where artifacts go"
    if not parameters["tracking_uri"]:
        yield "needs --tracking-uri, the address of an MLflow server that tasks can reach; there is no config map"
    for name in ("interactions", "items", "item_text", "user_text", "state"):
        if is_cloud(parameters[name]) and not parameters[name].startswith("gs://"):
            yield f"{name} {parameters[name]}: expected gs://; tasks have the rights of a service account, and no keys"
    config = restore_config(parameters, ())
    if config.asks_a_model:
        yield (
            f"text_provider {config.text_provider}: tasks have no keys of language models; write the texts with "
            "`ur4rec text generate`, and name them by --item-text and --user-text"
        )


def _check_package(package: Package) -> Iterator[str]:
    for image in package.images:
        if not REGISTRY.fullmatch(image):
            yield f"image {image}: expected one of a registry; pass --image-repository REGION-docker.pkg.dev/PROJECT/…"
    for executor in package.executors.values():
        gpu = executor["container"].get("resources", {}).get("accelerator", {}).get("type", "")
        if gpu and not GPU_NAME.fullmatch(gpu):
            yield f"gpu_type {gpu}: expected Vertex's name of a GPU, such as NVIDIA_TESLA_T4; set it in the profile"
    for settings in package.platform.values():
        for key, value in settings.items():
            needed = key != "secretAsEnv" or not all(one.get("optional") for one in value)
            if key in REFUSED and needed:
                yield f"profile: {REFUSED[key]}"
            assert key in LEFT_OUT | REFUSED or key == "fieldPathAsEnv", key


def _name_run(package: Package, job_id: str) -> dict[str, Any]:
    """Return the pipeline, in which those tasks know their run that are never cached: variables are in a cache key."""
    specification = copy.deepcopy(package.specification)
    groups = [specification["root"], *specification["components"].values()]
    tasks = [task for group in groups for task in group.get("dag", {}).get("tasks", {}).values()]
    for task in tasks:
        label = specification["components"][task["componentRef"]["name"]].get("executorLabel")
        named = package.platform.get(label, {}).get("fieldPathAsEnv", ())
        if any(one["name"] == PIPELINE_RUN for one in named) and not task["cachingOptions"].get("enableCache"):
            container = specification["deploymentSpec"]["executors"][label]["container"]
            container.setdefault("env", []).append({"name": PIPELINE_RUN, "value": job_id})
    return specification
