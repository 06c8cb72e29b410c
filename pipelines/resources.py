"""What each kind of task asks of a cluster: the one place for requests, limits, retries and timeouts."""

from __future__ import annotations

from dataclasses import dataclass

from kfp import dsl, kubernetes

MINUTE_S = 60
HOUR_S = 60 * MINUTE_S

TEXT_SECRET = "ur4rec-text"  # noqa: S105  # the name of a Kubernetes secret, not what it holds


@dataclass(frozen=True)
class Resources:
    """Kubernetes quantities; a task that grows past its memory limit or its timeout is stopped."""

    cpu_request: str
    cpu_limit: str
    memory_request: str
    memory_limit: str
    timeout_s: int
    num_retries: int = 2


PREPARATION = Resources("1", "2", "2Gi", "4Gi", timeout_s=2 * HOUR_S)
ASKING = Resources("1", "2", "1Gi", "2Gi", timeout_s=24 * HOUR_S, num_retries=5)
ENCODING = Resources("2", "4", "2Gi", "4Gi", timeout_s=6 * HOUR_S)
TRAINING = Resources("2", "4", "4Gi", "8Gi", timeout_s=24 * HOUR_S)
EVALUATION = Resources("2", "4", "4Gi", "8Gi", timeout_s=6 * HOUR_S)
REGISTRATION = Resources("1", "2", "2Gi", "4Gi", timeout_s=HOUR_S)


def size(task: dsl.PipelineTask, resources: Resources, display_name: str) -> dsl.PipelineTask:
    """Gives a task its name, its share of the cluster and its retries, and turns caching on."""
    task.set_display_name(display_name)
    task.set_caching_options(enable_caching=True)
    task.set_cpu_request(resources.cpu_request).set_cpu_limit(resources.cpu_limit)
    task.set_memory_request(resources.memory_request).set_memory_limit(resources.memory_limit)
    task.set_retry(resources.num_retries, backoff_duration="60s", backoff_factor=2, backoff_max_duration="600s")
    return kubernetes.set_timeout(task, resources.timeout_s)


def give_text_keys(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Lets a task read the keys of language models from a secret of the namespace, where there is one."""
    variables = {"DASHSCOPE_API_KEY": "DASHSCOPE_API_KEY", "OPENAI_API_KEY": "OPENAI_API_KEY"}
    return kubernetes.use_secret_as_env(task, TEXT_SECRET, variables, optional=True)
