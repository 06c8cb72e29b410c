"""What each kind of task asks of a cluster: the one place for requests, limits, retries, timeouts and secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from kfp import dsl, kubernetes
from pydantic import Field, field_validator

from components.image import IMAGE_USER
from ur4rec.config_section import ConfigError, ConfigSection, locate_shipped, read_settings
from ur4rec.registry.environment import DEFAULTS, PIPELINE_RUN, PUBLIC_TRACKING_URL, STATE
from ur4rec.registry.mlflow_client import TRACKING_URI
from ur4rec.registry.notifications import FORM, UI, WEBHOOK
from ur4rec.text.provider_table import API_KEYS

PROFILES = Path(__file__).parent / "profiles"
MINUTE_S = 60
HOUR_S = 60 * MINUTE_S
CPU = r"^\d+(\.\d+)?m?$"
MEMORY = r"^\d+(\.\d+)?([KMGT]i?)?$"

TEXT_SECRET = "ur4rec-text"  # noqa: S105  # the name of a Kubernetes secret, not what it holds
REGISTRY_SECRET = "ur4rec-mlflow"  # noqa: S105
WEBHOOK_SECRET = "ur4rec-webhook"  # noqa: S105
GCS_KEY_FOLDER = "/var/secrets/gcs"
S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
GCS_KEY_FILE = f"{GCS_KEY_FOLDER}/key.json"
CA_FOLDER = "/etc/ur4rec/ca"
CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE")
"""What the clients of MLflow, of the stores and of language models read."""
SECRET_NAME = re.compile(r"(?i)passw|secret|token|credential|(api|access)[-_]?key")
TEXT_KEYS = tuple(API_KEYS.values())
REGISTRY_KEYS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


class Toleration(ConfigSection):
    """A taint of nodes that a task puts up with."""

    key: str = Field(min_length=1)
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str | None = None
    effect: Literal["NoSchedule", "NoExecute", "PreferNoSchedule"] | None = None


class Requirement(ConfigSection):
    """A label that a node has or has not."""

    key: str = Field(min_length=1)
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = "In"
    values: tuple[str, ...] = ()


class Affinity(ConfigSection):
    """Requirements that a node meets, all of them."""

    match_expressions: tuple[Requirement, ...] = Field(min_length=1)
    weight: int | None = Field(None, ge=1, le=100)
    """How much nodes that meet them are preferred; None: no other will do."""


class Volume(ConfigSection):
    """A persistent volume that is there already."""

    claim: str = Field(min_length=1)
    mount_path: str = Field(pattern="^/")
    sub_path: str = ""


class Security(ConfigSection):
    """Who a task is: by default the user of the images."""

    run_as_user: int = Field(IMAGE_USER, ge=1)
    run_as_group: int = Field(IMAGE_USER, ge=1)


class Resources(ConfigSection):
    """Kubernetes quantities; a task that grows past its memory limit or its timeout is stopped."""

    cpu_request: str = Field(pattern=CPU)
    cpu_limit: str = Field(pattern=CPU)
    memory_request: str = Field(pattern=MEMORY)
    memory_limit: str = Field(pattern=MEMORY)
    timeout_s: int = Field(ge=1)
    num_retries: int = Field(2, ge=0, le=2**31 - 1)
    backoff_s: int = Field(60, ge=0, le=HOUR_S * 24 * 365)
    """Before the first retry; doubles up to ten times as much."""
    gpus: int = Field(0, ge=0)
    gpu_type: str = "nvidia.com/gpu"
    shm_size: str | None = Field(None, pattern=MEMORY)
    """The size of `/dev/shm`, which counts as memory; None leaves the 64 MB of the container runtime."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    node_affinity: tuple[Affinity, ...] = ()


class Profile(ConfigSection):
    """Resources of every kind of task; what a profile does not name stays as it is here."""

    preflight: Resources = Resources(
        cpu_request="500m",
        cpu_limit="1",
        memory_request="512Mi",
        memory_limit="1Gi",
        timeout_s=10 * MINUTE_S,
        num_retries=0,  # what is missing is told at once
    )
    bookkeeping: Resources = Resources(
        cpu_request="100m", cpu_limit="1", memory_request="256Mi", memory_limit="512Mi", timeout_s=10 * MINUTE_S
    )
    preparation: Resources = Resources(
        cpu_request="1", cpu_limit="2", memory_request="2Gi", memory_limit="4Gi", timeout_s=2 * HOUR_S
    )
    asking: Resources = Resources(
        cpu_request="1", cpu_limit="2", memory_request="1Gi", memory_limit="2Gi", timeout_s=24 * HOUR_S, num_retries=5
    )
    encoding: Resources = Resources(
        cpu_request="2", cpu_limit="4", memory_request="2Gi", memory_limit="4Gi", timeout_s=6 * HOUR_S
    )
    training: Resources = Resources(
        cpu_request="2", cpu_limit="4", memory_request="4Gi", memory_limit="8Gi", timeout_s=24 * HOUR_S
    )
    evaluation: Resources = Resources(
        cpu_request="2", cpu_limit="4", memory_request="4Gi", memory_limit="8Gi", timeout_s=6 * HOUR_S
    )
    registration: Resources = Resources(
        cpu_request="1", cpu_limit="2", memory_request="2Gi", memory_limit="4Gi", timeout_s=HOUR_S
    )
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets of the namespace with which images are pulled."""
    gcs_key_secret: str | None = Field(None, min_length=1)
    """Secret of the namespace whose `key.json` opens cloud storage; None where the service account does."""
    s3_key_secret: str | None = Field(None, min_length=1)
    """Secret of the namespace whose `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` open S3 or a relative of it; the
    address of a relative is `AWS_ENDPOINT_URL` in `environment`. None where the service account has a role."""
    security: Security | None = Security()
    """None: as the server or a policy says."""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    environment: dict[str, str] = Field(default_factory=dict)
    """Variables of every task, such as `HTTPS_PROXY`; never secrets, for the compiled file shows them."""
    ca_config_map: str | None = Field(None, min_length=1)
    """Config map of the namespace whose `ca.crt` holds all authorities that are trusted, as PEM."""
    volumes: tuple[Volume, ...] = ()

    @field_validator("environment")
    @classmethod
    def _hold_no_secret(cls, environment: dict[str, str]) -> dict[str, str]:
        for name, value in environment.items():
            if SECRET_NAME.search(name) or "@" in urlsplit(value).netloc:
                raise ValueError(f"{name} looks like a secret, and the compiled file is for all to see")
        return environment

    @property
    def uses_gpu(self) -> bool:
        """Whether any task asks for a GPU."""
        return any(getattr(self, kind).gpus for kind in KINDS)


KINDS = tuple(name for name, field in Profile.model_fields.items() if field.annotation is Resources)


def load_profile(name_or_path: str | None = None) -> Profile:
    """Read a profile.

    Args:
        name_or_path: A shipped one such as `gpu`, or a YAML file; None for the defaults.

    Raises:
        ConfigError: There is no such profile, or a key or value of it is wrong; names the file and the key.
    """
    if name_or_path is None:
        return Profile()
    values = read_settings(locate_shipped(name_or_path, PROFILES))
    defaults = Profile()
    for kind in set(KINDS) & set(values):
        values[kind] = _complete(getattr(defaults, kind), values[kind], f"{name_or_path}: {kind}")
    return Profile.parse(values, name_or_path)


def _complete(default: Resources, values: object, source: str) -> Resources:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{source}: expected keys and values such as memory_limit: 8Gi")
    return Resources.parse(default.to_dict() | dict(values), source)


def size_task(
    profile: Profile, task: dsl.PipelineTask, kind: str, display_name: str, caching: bool = True
) -> dsl.PipelineTask:
    """Give a task its name, its share of the cluster and its retries.

    Args:
        profile: Holds the shares.
        task: Of the pipeline.
        kind: One of `KINDS`.
        display_name: What the interface shows.
        caching: Whether the results of an earlier run will do.
    """
    resources: Resources = getattr(profile, kind)
    task.set_display_name(display_name)
    task.set_caching_options(enable_caching=caching)
    task.set_cpu_request(resources.cpu_request).set_cpu_limit(resources.cpu_limit)
    task.set_memory_request(resources.memory_request).set_memory_limit(resources.memory_limit)
    if resources.num_retries:
        backoff = {
            "backoff_duration": f"{resources.backoff_s}s",
            "backoff_max_duration": f"{10 * resources.backoff_s}s",
        }
        task.set_retry(resources.num_retries, backoff_factor=2, **backoff)
    if resources.gpus:
        task.set_accelerator_type(resources.gpu_type).set_accelerator_limit(resources.gpus)
    kubernetes.set_timeout(task, resources.timeout_s)
    if profile.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(profile.image_pull_secrets))
    return _place(_equip(task, profile), resources)


def _equip(task: dsl.PipelineTask, profile: Profile) -> dsl.PipelineTask:
    """Give a task what all tasks have: who they are, their labels and variables, and what is mounted."""
    environment = dict(profile.environment)
    if profile.security:
        kubernetes.set_security_context(task, **profile.security.to_dict(), run_as_non_root=True)
    for add, pairs in (
        (kubernetes.add_pod_label, profile.labels),
        (kubernetes.add_pod_annotation, profile.annotations),
    ):
        for key, value in pairs.items():
            add(task, key, value)
    if profile.gcs_key_secret:
        kubernetes.use_secret_as_volume(task, profile.gcs_key_secret, mount_path=GCS_KEY_FOLDER)
        environment["GOOGLE_APPLICATION_CREDENTIALS"] = GCS_KEY_FILE
    if profile.s3_key_secret:
        kubernetes.use_secret_as_env(task, profile.s3_key_secret, {key: key for key in S3_KEYS})
    if profile.ca_config_map:
        kubernetes.use_config_map_as_volume(task, profile.ca_config_map, mount_path=CA_FOLDER)
        environment |= dict.fromkeys(CA_VARIABLES, f"{CA_FOLDER}/ca.crt")
    for volume in profile.volumes:
        kubernetes.mount_pvc(task, volume.claim, volume.mount_path, volume.sub_path)
    for name, value in environment.items():
        task.set_env_variable(name, value)
    return task


def _place(task: dsl.PipelineTask, resources: Resources) -> dsl.PipelineTask:
    """Say which nodes a task may run on, and give it shared memory."""
    if resources.shm_size:
        kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=resources.shm_size)  # noqa: S108
    for key, value in resources.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in resources.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump(exclude_none=True))
    for affinity in resources.node_affinity:
        kubernetes.add_node_affinity(task, **affinity.model_dump(mode="json"))
    return task


def give_text_keys(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Let a task read the keys of language models from a secret of the namespace, where there is one."""
    return kubernetes.use_secret_as_env(task, TEXT_SECRET, {key: key for key in TEXT_KEYS}, optional=True)


def give_registry_keys(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Let a task read the credentials of the MLflow server, where there is such a secret, and the id of its run.

    The id is a variable and no parameter: parameters are part of the cache key, and it differs in every run.
    """
    give_run_id(task)
    return kubernetes.use_secret_as_env(task, REGISTRY_SECRET, {key: key for key in REGISTRY_KEYS}, optional=True)


def give_run_id(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Let a task read the id of its run."""
    return kubernetes.use_field_path_as_env(task, PIPELINE_RUN, "metadata.labels['pipeline/runid']")


def give_webhook(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Let a task read where notices go, and at which address people see the runs, where the namespace says so."""
    kubernetes.use_config_map_as_env(task, DEFAULTS, {UI: UI}, optional=True)
    return kubernetes.use_secret_as_env(task, WEBHOOK_SECRET, {key: key for key in (WEBHOOK, FORM)}, optional=True)


def give_public_links(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Let a task read at which address people see MLflow, where the namespace says so."""
    names = {PUBLIC_TRACKING_URL: PUBLIC_TRACKING_URL}
    return kubernetes.use_config_map_as_env(task, DEFAULTS, names, optional=True)


def give_live_run(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Let a task log to MLflow while it runs, at the address of the config map: a parameter would be a cache key."""
    names = {name: name for name in (TRACKING_URI, PUBLIC_TRACKING_URL)}
    return kubernetes.use_config_map_as_env(give_registry_keys(task), DEFAULTS, names, optional=True)


def give_defaults(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Let a task read what a run is not told from a config map of the namespace, where there is one."""
    return kubernetes.use_config_map_as_env(
        task, DEFAULTS, {name: name for name in (TRACKING_URI, STATE)}, optional=True
    )
