"""Runs on the server: listed, canceled, tried again, and started once more with other settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kfp_server_api import V2beta1Run, V2beta1RuntimeConfig

from pipelines.arguments import GROUP_SUFFIX, read_settings, restore_config
from pipelines.cluster.connection import Cluster
from pipelines.cluster.failures import ClusterError
from pipelines.cluster.package import filter_by_name, stamp_now, start_run
from pipelines.cluster.status import FINAL, Server
from pipelines.inputs import check_locations, restore_inputs
from ur4rec.registry.run_settings import name_settings
from ur4rec.registry.run_settings import split_settings as split_groups
from ur4rec.text.config import TextConfig

RETRIED = ("FAILED", "CANCELED")
"""States of runs whose failed tasks the server starts again."""
STATES = ("PENDING", "RUNNING", "SUCCEEDED", "SKIPPED", "FAILED", "CANCELING", "CANCELED", "PAUSED")


@dataclass(frozen=True)
class Wanted:
    """Which runs to list."""

    state: str | None = None
    name: str | None = None
    """A part of the name."""
    experiment: str | None = None
    limit: int = 20
    page: str = ""
    """What the server named the page after the last one; empty: the first."""


def check_state(name: str) -> str:
    """Return a state as the server writes it.

    Raises:
        ClusterError: There is no such state.
    """
    if name.upper() not in STATES:
        raise ClusterError(f"--state {name}: expected one of {', '.join(STATES)}")
    return name.upper()


def list_page(cluster: Cluster, wanted: Wanted) -> tuple[list[V2beta1Run], str]:
    """Return the newest runs, and the name of the next page, which is empty at the end.

    Raises:
        ClusterError: There is no such state or experiment.
    """
    answer = cluster.ask(
        "runs",
        cluster.client.runs.run_service_list_runs,
        page_token=wanted.page,
        page_size=wanted.limit,
        sort_by="created_at desc",
        filter=_write_filter(wanted),
        namespace=cluster.namespace,
        **_name_experiment(cluster, wanted.experiment),
    )
    return answer.runs or [], answer.next_page_token or ""


def cancel_run(server: Server, run_id: str) -> V2beta1Run:
    """Stop a run; return it as it was.

    Raises:
        ClusterError: It has ended.
    """
    run = server.read_run(run_id)
    if run.state in FINAL:
        raise ClusterError(f"run {run_id}: has ended, {run.state}; there is nothing to cancel")
    server.stop_run(run_id)
    return run


def retry_run(cluster: Cluster, run_id: str) -> V2beta1Run:
    """Start the failed tasks of a run again, and those that follow; what succeeded stays. Return it as it was.

    Raises:
        ClusterError: It has not failed and was not canceled.
    """
    run = cluster.read_run(run_id)
    if run.state not in RETRIED:
        raise ClusterError(
            f"run {run_id}: is {run.state}; expected {' or '.join(RETRIED)}; `clone` starts it once more"
        )
    cluster.ask(f"run {run_id}", cluster.client.runs.run_service_retry_run, run_id)
    return run


def clone_run(cluster: Cluster, run_id: str, name: str | None, settings: Sequence[str]) -> Any:
    """Start a run with the version, the data and the parameters of another one, apart from some settings.

    Raises:
        ClusterError: The run names no version of a pipeline.
        ConfigError: A setting is unknown or wrong.
    """
    run = cluster.read_run(run_id)
    if run.pipeline_version_reference is None:
        raise ClusterError(f"run {run_id}: names no version of a pipeline; clone it in the web interface")
    held = run.runtime_config or V2beta1RuntimeConfig()
    parameters = held.parameters or {}
    return start_run(
        cluster,
        V2beta1Run(
            experiment_id=run.experiment_id,
            display_name=name or f"{run.display_name} again {stamp_now()}",
            description=f"clone of run {run_id}",
            pipeline_version_reference=run.pipeline_version_reference,
            runtime_config=V2beta1RuntimeConfig(
                parameters=change_settings(parameters, settings) if settings else parameters,
                pipeline_root=held.pipeline_root or None,
            ),
            service_account=run.service_account or None,
        ),
    )


def change_settings(parameters: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Return parameters with other settings; all else stays.

    The texts are looked up anew where another prompt may be asked. A version that an earlier release compiled takes the
    settings in groups.

    Raises:
        ConfigError: A setting is unknown or wrong.
    """
    before, after = read_settings(parameters), restore_config(parameters, settings)
    check_locations(after, restore_inputs(parameters))
    is_grouped = any(name.endswith(GROUP_SUFFIX) for name in parameters)
    is_same = before.narrow(TextConfig).list_changes() == after.narrow(TextConfig).list_changes()
    changed = split_groups(after) if is_grouped else name_settings(after)
    return {**parameters, **changed, "text_digest": parameters.get("text_digest", "") if is_same else ""}


def _write_filter(wanted: Wanted) -> str:
    predicates = []
    if wanted.state:
        predicates.append({"operation": "EQUALS", "key": "state", "string_value": check_state(wanted.state)})
    if wanted.name:
        predicates.append({"operation": "IS_SUBSTRING", "key": "display_name", "string_value": wanted.name})
    return json.dumps({"predicates": predicates}) if predicates else ""


def _name_experiment(cluster: Cluster, name: str | None) -> dict[str, str]:
    if not name:
        return {}
    listing = cluster.client.experiments.experiment_service_list_experiments
    answer = cluster.ask(f"experiment {name!r}", listing, namespace=cluster.namespace, filter=filter_by_name(name))
    if not answer.experiments:
        raise ClusterError(f"--experiment {name}: there is none of that name")
    return {"experiment_id": answer.experiments[0].experiment_id}
