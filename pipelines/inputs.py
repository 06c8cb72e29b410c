"""What a run reads and where that is: on this machine, or where pods can reach it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ur4rec.commands.console import OptionError
from ur4rec.config import SHIPPED
from ur4rec.registry.gate.rules import load_rules
from ur4rec.registry.mlflow_client import ENVIRONMENT, TRACKING_URI, public_uri, resolve_tracking_uri
from ur4rec.storage.stores import is_cloud

if TYPE_CHECKING:
    from pipelines.options import ClusterOptions, RunOptions
    from ur4rec.config import Config

DEFAULT_DATA = "ml-100k"
STATE = ".state"
"""Folder of the pipeline root with the state of unfinished stages."""
UNSEEN = {
    "text_user_prompt": "file; name a shipped prompt",
    "text_item_prompt": "file; name a shipped prompt",
    "text_prices": "file; leave it to the shipped table",
    "text_model_name": "folder; name a public model",
}
"""Setting → what pods do not see, and what to do."""


class DataNotFoundError(ValueError):
    """Neither the name of a data set nor a path."""


class LocationError(ValueError):
    """A place that pods cannot reach; says what was expected."""


@dataclass(frozen=True)
class Tracking:
    """Where MLflow is."""

    uri: str
    """The address as MLflow needs it; it may hold credentials."""

    @property
    def public(self) -> str:
        """The address without credentials."""
        return public_uri(self.uri)

    @property
    def parameter(self) -> str:
        """What the task is told: nothing where the address holds credentials that only the environment may carry."""
        return self.uri if self.uri == self.public else ""

    @property
    def environment(self) -> dict[str, str]:
        """Variables for the tasks; those that the user has set stay."""
        return {name: os.environ.get(name, value) for name, value in ENVIRONMENT.items()} | {TRACKING_URI: self.uri}


@dataclass(frozen=True)
class Inputs:
    """Everything that a run is told besides its settings; files are paths, `gs://…` or `s3://…`; empty: none."""

    interactions: str
    items: str = ""
    item_text: str = ""
    user_text: str = ""
    device: str = "auto"
    state: str = ""
    """Where unfinished stages keep their state."""
    tracking: Tracking = Tracking("")
    gate_rules: Mapping[str, Any] = field(default_factory=dict)
    """All rules, as `read_gate_rules` gives them; empty: those that are shipped with the code that runs."""


def read_gate_rules(path: Path | None) -> dict[str, Any]:
    """Return all rules of the gate as a parameter: the shipped ones, changed by a file.

    Raises:
        ConfigError: The file cannot be read, or a rule in it is unknown or wrong.
    """
    return load_rules(path).model_dump(mode="json", exclude_none=True)


def list_local_files(config: Config) -> dict[str, str]:
    """List the settings that name a file or folder of this machine: prompts, prices, an encoder.

    Returns:
        Setting → path, as it is named.
    """
    prompts = {name: str(getattr(config, name)) for name in ("text_user_prompt", "text_item_prompt")}
    named = {name: prompt for name, prompt in prompts.items() if prompt.endswith((".yaml", ".yml"))}
    if config.text_prices:
        named["text_prices"] = config.text_prices
    if Path(config.text_model_name).is_dir():
        named["text_model_name"] = config.text_model_name
    return named


def choose_config(options: RunOptions) -> Path | None:
    """Return the configuration of a run on this machine: the shipped run's for its data; None leaves it to the data."""
    if options.config is None and (options.data or DEFAULT_DATA) != DEFAULT_DATA:
        return None
    return Path(options.config or SHIPPED)


def find_inputs(options: RunOptions, config: Config) -> Inputs:
    """Return what a run on this machine reads; a data set that is known by its name is fetched if need be.

    Data that are on this machine are checked as the first task checks them when it reads them.

    Raises:
        DataError: They cannot be used; names the file and, where there is one, the row.
        DataNotFoundError: There is no such file.
        SourceError: The data set cannot be fetched.
        ConfigError: The rules of the gate cannot be used.
    """
    state = options.state or str(options.pipeline_root / STATE)
    inputs = Inputs(
        interactions=locate_data(options.data or DEFAULT_DATA),
        items=_locate_file("--items", options.items, "a CSV or Parquet file"),
        item_text=_locate_file("--item-text", options.item_text, "a JSON file"),
        user_text=_locate_file("--user-text", options.user_text, "a JSON or Parquet file"),
        device=options.device,
        state=_make_absolute(state),
        tracking=Tracking(resolve_tracking_uri(None)),
        gate_rules=read_gate_rules(options.gate_rules),
    )
    if not any(map(is_cloud, (inputs.interactions, inputs.items))):
        _check_rows(inputs, config)
    return inputs


def locate_data(data: str) -> str:
    """Return where data are: a known data set by its name, else a path, `gs://…` or `s3://…`.

    Raises:
        DataNotFoundError: It is neither.
        SourceError: The data set cannot be fetched.
    """
    from ur4rec.data.sources import DATASETS, fetch, list_names  # imports pandas, which no other input needs

    if data in list_names():
        return str(fetch(data))
    if not is_cloud(data) and not Path(data).exists():
        names = ", ".join(dataset.name for dataset in DATASETS)
        raise DataNotFoundError(
            f"--data {data}: expected {names}, amazon-2023/CATEGORY, an existing file or folder, or gs://… or s3://…"
        )
    return _make_absolute(data)


def _locate_file(option: str, location: str | None, kind: str) -> str:
    if location and not is_cloud(location) and not Path(location).is_file():
        raise DataNotFoundError(f"{option} {location}: no such file; expected {kind}, or gs://… or s3://…")
    return _make_absolute(location) if location else ""


def _make_absolute(location: str) -> str:
    return location if is_cloud(location) else str(Path(location).absolute())


def _check_rows(inputs: Inputs, config: Config) -> None:
    from ur4rec.data.config import DataConfig
    from ur4rec.data.preprocess import check_data  # imports pandas, which no other input needs

    check_data(inputs.interactions, config.narrow(DataConfig), inputs.items or None)


def name_inputs(options: ClusterOptions) -> dict[str, Any]:
    """Return field of `Inputs` → value, of those options of a cluster that are given.

    Raises:
        ConfigError: The rules of the gate cannot be used.
    """
    given = {
        "interactions": options.data,
        "items": options.items,
        "item_text": options.item_text,
        "user_text": options.user_text,
        "device": options.device,
        "state": options.state,
        "tracking": None if options.tracking_uri is None else Tracking(options.tracking_uri),
        "gate_rules": None if options.gate_rules is None else read_gate_rules(options.gate_rules),
    }
    return {name: value for name, value in given.items() if value is not None}


def require_inputs(options: ClusterOptions) -> Inputs:
    """Return the inputs of a run on a cluster; data have no default that pods could reach.

    Raises:
        OptionError: They are not named.
        ConfigError: The rules of the gate cannot be used.
    """
    if not options.data:
        raise OptionError("--data: missing; expected gs://bucket/… or s3://bucket/…, which pods can read")
    uri = options.tracking_uri or os.environ.get(TRACKING_URI, "")
    return Inputs(**{"gate_rules": read_gate_rules(None)} | name_inputs(options) | {"tracking": Tracking(uri)})


def restore_inputs(parameters: Mapping[str, Any]) -> Inputs:
    """Return what was asked for, from a run's parameters."""
    names = ("interactions", "items", "item_text", "user_text", "state")
    return Inputs(
        **{name: str(parameters.get(name, "")) for name in names},
        device=str(parameters.get("device", "auto")),
        tracking=Tracking(str(parameters.get("tracking_uri", ""))),
        gate_rules=parameters.get("gate_rules") or {},
    )


def check_locations(config: Config, inputs: Inputs) -> None:
    """Check that pods can reach whatever is named.

    Raises:
        LocationError: Something is on this machine, or MLflow's address is not one that can be sent.
    """
    _expect_cloud("--data", inputs.interactions, "copy the data there: `gcloud storage cp` or `aws s3 cp`")
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
    if config.asks_a_model and not config.text_cache:
        raise LocationError(
            f"text_provider {config.text_provider}: needs --set text_cache=gs://bucket/… (or s3://), where tasks find "
            "what others were answered; without it the same texts would be paid for again in every pod"
        )
    for name, path in list_local_files(config).items():
        raise LocationError(f"{name} {path}: pods do not see this {UNSEEN[name]}")
    _check_tracking(inputs.tracking)


def _expect_cloud(name: str, location: str, step: str) -> None:
    if not is_cloud(location):
        raise LocationError(f"{name} {location}: expected gs://bucket/… or s3://bucket/…; {step}")


def _check_tracking(tracking: Tracking) -> None:
    """Check an address; none is left to the first task, which knows the cluster's own."""
    if not tracking.uri:
        return
    if urlsplit(tracking.uri).scheme not in ("http", "https"):
        raise LocationError(
            f"--tracking-uri {tracking.public}: expected MLflow's address as pods see it, such as "
            "http://mlflow.mlflow.svc.cluster.local:5000"
        )
    if not tracking.parameter:
        from pipelines.resources import REGISTRY_SECRET  # imports kfp

        raise LocationError(
            f"--tracking-uri {tracking.public}: its credentials would be visible to all; "
            f"put them into the secret {REGISTRY_SECRET}"
        )
