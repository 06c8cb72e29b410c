"""From the options of an update to the schedule as it shall be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kfp_server_api import V2beta1RecurringRun

from pipelines.cluster.connection import Cluster
from pipelines.cluster.package import compile_package
from pipelines.cluster.parameters import build_parameters, describe_inputs, read_cluster_config, restore_config
from pipelines.cluster.schedules import Plan, is_enabled
from pipelines.cluster.triggers import ScheduleError, Trigger, describe_trigger, trigger_of
from pipelines.cluster.versions import Version, ensure_version_of
from pipelines.image_names import ImageNames
from pipelines.preparation import chooses_dataset_name, name_after, name_data

if TYPE_CHECKING:
    from ur4rec.config import Config


@dataclass(frozen=True)
class Compilation:
    """How the pipeline is compiled."""

    images: ImageNames
    profile: str | None

    @property
    def is_default(self) -> bool:
        """Whether nothing was asked for."""
        return self == Compilation(ImageNames(), None)


@dataclass(frozen=True)
class Changes:
    """What an update changes; None and empty leave things as they are."""

    trigger: Trigger | None
    max_concurrency: int | None
    no_catchup: bool | None
    follows_latest: bool | None
    config: str | None
    settings: tuple[str, ...]
    inputs: Mapping[str, Any]
    """By the names of `ClusterInputs`."""
    compilation: Compilation

    @property
    def compiles(self) -> bool:
        """Whether the parameters change, or the version, so that both are made anew."""
        is_new = self.config or self.settings or any(value is not None for value in self.inputs.values())
        return bool(is_new) or self.follows_latest is False or not self.compilation.is_default


def plan_changes(cluster: Cluster, schedule: V2beta1RecurringRun, changes: Changes) -> Plan:
    """The schedule as it shall be; uploads the pipeline where it is compiled anew.

    Raises:
        ScheduleError: The schedule was made in a way that cannot be taken over.
        ValueError: Typed: a setting or place cannot be used.
        ClusterError: The server cannot be asked or refuses.
    """
    plan = _read_plan(schedule, changes.trigger)
    plan = replace(
        plan,
        max_concurrency=changes.max_concurrency or plan.max_concurrency,
        no_catchup=plan.no_catchup if changes.no_catchup is None else changes.no_catchup,
        follows_latest=plan.follows_latest if changes.follows_latest is None else changes.follows_latest,
    )
    if not changes.compiles:
        return plan
    parameters = _change_parameters(plan.parameters, changes)
    package = compile_package(changes.compilation.images, changes.compilation.profile)
    package.check(parameters)
    version = ensure_version_of(cluster, plan.version.pipeline_id, package)
    return replace(plan, parameters=parameters, version=version)


def _change_parameters(parameters: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    named = {name: value for name, value in changes.inputs.items() if value is not None}
    before = describe_inputs(parameters)
    inputs = replace(before, **named)
    return build_parameters(_change_config(parameters, changes, before.data, inputs.data), inputs, scheduled=True)


def _change_config(parameters: Mapping[str, Any], changes: Changes, before: str, data: str) -> Config:
    if changes.config:
        return read_cluster_config(changes.config, changes.settings, data)
    config = restore_config(parameters, changes.settings)
    if chooses_dataset_name(changes.settings) or config.dataset_name != name_data(before):  # somebody has chosen it
        return config
    return name_after(config, data)


def _read_plan(schedule: V2beta1RecurringRun, trigger: Trigger | None) -> Plan:
    reference, config = schedule.pipeline_version_reference, schedule.runtime_config
    if reference is None or not reference.pipeline_id:
        raise ScheduleError(f"schedule {schedule.display_name!r}: names no pipeline; make another one with `create`")
    kept = trigger or trigger_of(schedule.trigger)
    if kept is None:
        raise ScheduleError(
            f"schedule {schedule.display_name!r}: {describe_trigger(schedule.trigger)}; correct it with --cron"
        )
    version_id = reference.pipeline_version_id or ""
    return Plan(
        name=schedule.display_name,
        trigger=kept,
        version=Version(reference.pipeline_id, version_id, version_id),
        follows_latest=not version_id,
        parameters=(config.parameters if config else None) or {},
        experiment_id=schedule.experiment_id,
        max_concurrency=int(schedule.max_concurrency or 1),
        no_catchup=bool(schedule.no_catchup),
        enabled=is_enabled(schedule),
        pipeline_root=(config.pipeline_root if config else None) or None,
        service_account=schedule.service_account or None,
    )
