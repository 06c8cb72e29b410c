"""From options to the parameters of a run on a cluster, which sees nothing of this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipelines.arguments import Inputs, Tracking, build_arguments, read_gate_rules
from pipelines.containers import list_local_files
from pipelines.preparation import read_run_config
from pipelines.resources import REGISTRY_SECRET
from ur4rec.commands.console import OptionError, split_settings
from ur4rec.registry.mlflow_client import TRACKING_URI, public_uri
from ur4rec.storage.inputs import is_cloud

if TYPE_CHECKING:
    from ur4rec.config import Config

CONFIG_SUFFIX = "_config"
UNSEEN = {
    "text_user_prompt": "file; name a shipped prompt",
    "text_item_prompt": "file; name a shipped prompt",
    "text_prices": "file; leave it to the shipped table",
    "text_model_name": "folder; name a public model",
}
"""Setting → what pods do not see, and what to do."""


class LocationError(ValueError):
    """A place that pods cannot reach; says what was expected."""


@dataclass(frozen=True)
class ClusterInputs:
    """What the user asks for."""

    data: str
    tracking_uri: str
    items: str = ""
    item_text: str = ""
    user_text: str = ""
    device: str = "auto"
    state: str = ""
    gate_rules: Mapping[str, Any] = field(default_factory=dict)


def require_inputs(
    data: str | None,
    tracking_uri: str | None,
    items: str | None,
    item_text: str | None,
    user_text: str | None,
    device: str | None,
    state: str | None,
    gate_rules: Path | None,
) -> ClusterInputs:
    """The inputs as the options of a command give them; neither data nor MLflow have a default that pods could reach.

    Raises:
        OptionError: One of the two is not named.
        ConfigError: The rules of the gate cannot be used.
    """
    if not data:
        raise OptionError("--data: missing; expected gs://bucket/…, which pods can read")
    uri = tracking_uri or os.environ.get(TRACKING_URI)
    if not uri:
        raise OptionError(
            f"--tracking-uri: missing; expected MLflow's address as pods see it, here or in {TRACKING_URI}"
        )
    return ClusterInputs(
        data=data,
        tracking_uri=uri,
        items=items or "",
        item_text=item_text or "",
        user_text=user_text or "",
        device=device or "auto",
        state=state or "",
        gate_rules=read_gate_rules(gate_rules),
    )


def read_cluster_config(config: str, settings: tuple[str, ...], data: str) -> Config:
    """The configuration of a run, named after its data.

    Raises:
        ConfigError: The file, a key or a value is wrong.
    """
    return read_run_config(config, settings, data)


def restore_config(parameters: Mapping[str, Any], settings: tuple[str, ...]) -> Config:
    """The configuration that a run's parameters hold, with overrides.

    Raises:
        ConfigError: They hold keys that this version does not know, or an override is wrong.
    """
    from ur4rec.config import override_values

    groups = [group for name, group in parameters.items() if name.endswith(CONFIG_SUFFIX)]
    held = {key: value for group in groups for key, value in group.items()}
    return override_values(held, split_settings(settings), "parameters of the schedule")


def build_parameters(config: Config, inputs: ClusterInputs, scheduled: bool) -> dict[str, Any]:
    """Every parameter of the pipeline.

    Args:
        config: The settings.
        inputs: Where things are.
        scheduled: The run finds out what the data are; else this is done now, so their bucket must be readable.

    Raises:
        LocationError: Something is on this machine, or MLflow's address is not one that can be sent.
        GcsError: The data cannot be listed.
        StagesError: The system lacks a stage.
    """
    check_locations(config, inputs)
    return build_arguments(
        config,
        Inputs(inputs.data, inputs.items, inputs.item_text, inputs.user_text),
        inputs.device,
        Tracking(inputs.tracking_uri),
        inputs.state,
        scheduled=scheduled,
        gate_rules=inputs.gate_rules,
    )


def check_locations(config: Config, inputs: ClusterInputs) -> None:
    """Checks that pods can reach whatever is named.

    Raises:
        LocationError: They cannot.
    """
    _expect_cloud("--data", inputs.data, "copy the data there: `gcloud storage cp`")
    optional = {
        "--items": inputs.items,
        "--item-text": inputs.item_text,
        "--user-text": inputs.user_text,
        "--state": inputs.state,
        "text_cache": config.text_cache,
    }
    for name, location in optional.items():
        if location:
            _expect_cloud(name, location, "pods do not see this machine")
    if config.text_provider != "template" and not config.text_cache:
        raise LocationError(
            f"text_provider {config.text_provider}: needs --set text_cache=gs://bucket/…, where tasks find what others "
            "were answered; without it the same texts would be paid for again in every pod"
        )
    for name, path in list_local_files(config).items():
        raise LocationError(f"{name} {path}: pods do not see this {UNSEEN[name]}")
    _check_tracking(inputs.tracking_uri)


def _expect_cloud(name: str, location: str, step: str) -> None:
    if not is_cloud(location):
        raise LocationError(f"{name} {location}: expected gs://bucket/…; {step}")


def _check_tracking(uri: str) -> None:
    public = public_uri(uri)
    if urlsplit(uri).scheme not in ("http", "https"):
        raise LocationError(
            f"--tracking-uri {public}: expected MLflow's address as pods see it, such as "
            "http://mlflow.mlflow.svc.cluster.local:5000"
        )
    if uri != public:
        raise LocationError(
            f"--tracking-uri {public}: its credentials would be visible to all; "
            f"put them into the secret {REGISTRY_SECRET}"
        )


def describe_inputs(parameters: Mapping[str, Any]) -> ClusterInputs:
    """What was asked for, from a run's parameters."""
    return ClusterInputs(
        data=str(parameters.get("interactions", "")),
        tracking_uri=str(parameters.get("tracking_uri", "")),
        items=str(parameters.get("items", "")),
        item_text=str(parameters.get("item_text", "")),
        user_text=str(parameters.get("user_text", "")),
        device=str(parameters.get("device", "auto")),
        state=str(parameters.get("state", "")),
        gate_rules=parameters.get("gate_rules") or {},
    )
