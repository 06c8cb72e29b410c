"""Everything that a run will need, checked before it computes anything: all that is missing is told at once."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple
from uuid import uuid4

from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.environment import DEFAULTS, PIPELINE_RUN, STATE
from ur4rec.registry.gate.rules import load_rules
from ur4rec.registry.mlflow_client import (
    GONE,
    TRACKING_URI,
    RegistryError,
    answer_or_none,
    ensure_experiment,
    open_mlflow,
    public_uri,
)
from ur4rec.registry.pipeline_run import announce_run
from ur4rec.registry.run_settings import SETTINGS, join_settings, split_settings
from ur4rec.storage.inputs import list_versions
from ur4rec.storage.objects import StoreError
from ur4rec.storage.stores import is_cloud, open_store
from ur4rec.text.config import TextConfig
from ur4rec.text.provider_table import API_KEYS, create_client

LIMIT_S = 40.0
"""What has not answered by then counts as missing."""
FREE_BYTES = 1 << 29
"""Free space without which not even a small run ends well."""
SERVERS = ("http://", "https://", "postgresql", "mysql", "mssql", "databricks", "uc:")
"""How an address begins that means the same in every pod."""


class PreflightError(ValueError):
    """Something that a run will need is missing; has a line for each."""


class Checked(NamedTuple):
    """Where a run logs to and keeps its state, and what each of its tasks is told."""

    tracking_uri: str
    state: str
    groups: Mapping[str, Mapping[str, Any]]
    """As `split_settings` returns them."""


def check_run(
    inputs: Iterable[str],
    named: Mapping[str, str],
    settings: Mapping[str, Any],
    gate_rules: Mapping[str, Any],
    tracking_uri: str = "",
    state: str = "",
) -> Checked:
    """Check everything that a run will need, and return where it goes and what its tasks are told.

    Args:
        inputs: Paths and addresses of what is read; empty ones are left out.
        named: The settings of `NAMED`, as text; empty ones are not given.
        settings: All other settings that differ from the defaults.
        gate_rules: Rules of the gate that differ from the shipped ones.
        tracking_uri: MLflow's address; empty: on a cluster that of the config map `ur4rec-defaults`.
        state: Where unfinished stages keep their state; empty: the same.

    Raises:
        PreflightError: Something is missing, may not be used or does not answer in time.
    """
    tracking_uri, state = tracking_uri or _read_default(TRACKING_URI), state or _read_default(STATE)
    read = partial(join_settings, named, settings)
    faults = find_faults({SETTINGS: read, "gate_rules": partial(load_rules, overrides=gate_rules, source="gate_rules")})
    if not faults:
        config = read()
        faults = find_faults(
            {
                "MLflow": partial(_check_registry, config, tracking_uri),
                **{place: partial(_check_readable, place) for place in inputs if place},
                "state": partial(_check_writable, state),
                "texts": partial(_check_service, config),
                "disk": _check_disk,
            }
        )
    if faults:
        raise PreflightError("the run would fail, so nothing was begun:\n" + "\n".join(faults))
    print(f"preflight: all is there; MLflow at {public_uri(tracking_uri) or 'its usual place'}", flush=True)
    return Checked(tracking_uri, state, split_settings(config))


def find_faults(checks: Mapping[str, Callable[[], object]], limit_s: float = LIMIT_S) -> list[str]:
    """Return a line for each check that fails or does not end in time; all run at once."""
    faults = {name: f"{name}: no answer within {limit_s:g} s" for name in checks}

    def attempt(name: str, check: Callable[[], object]) -> None:
        try:
            check()
        except Exception as error:  # whatever a client of a service raises
            message = " ".join(str(error).split()) or type(error).__name__
            faults[name] = message if message.startswith(name) else f"{name}: {message}"
        else:
            del faults[name]

    threads = [Thread(target=attempt, args=check, daemon=True) for check in checks.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + limit_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return list(faults.values())


def _is_on_cluster() -> bool:
    return bool(os.environ.get(PIPELINE_RUN))


def _read_default(name: str) -> str:
    """Return what the config map says; on this machine the variable goes its own way, for it may hold credentials."""
    return os.environ.get(name, "") if _is_on_cluster() else ""


def _check_registry(config: RegistryConfig, uri: str) -> None:
    """Make the experiment and, in it, the run that the tasks will log to, with a file; it is not shown yet."""
    if _is_on_cluster():
        _expect_server(uri)
    with open_mlflow(uri or None) as client:
        experiment = ensure_experiment(client, config.experiment_name)
        answer_or_none(GONE, client.get_registered_model, config.registered_model_name)
        announce_run(client, experiment)


def _expect_server(uri: str) -> None:
    """Refuse an address that means something else in every pod, or that would show credentials to all."""
    if not uri:
        raise RegistryError(
            f"tracking_uri is empty, and the config map {DEFAULTS} of this namespace names no {TRACKING_URI}: "
            "every task would have a registry of its own; fill in one of the two"
        )
    if not uri.startswith(SERVERS):
        raise RegistryError(f"{uri}: is a file, which every task would have for itself; name a server")
    if uri != public_uri(uri):
        raise RegistryError(
            f"{public_uri(uri)}: its credentials would be visible to all; put them into the secret ur4rec-mlflow"
        )


def _check_readable(place: str) -> None:
    if is_cloud(place):
        list_versions(place)
    elif not Path(place).exists():
        where = "the pod" if _is_on_cluster() else "this machine"
        raise StoreError(f"not found on {where}; expected a file or folder there, or gs://… or s3://…")


def _check_writable(place: str) -> None:
    """Write an object and delete it; a folder is made when it is needed."""
    if is_cloud(place):
        with open_store(place) as store:
            store.delete([store.upload_new(f".preflight-{uuid4().hex}", b"")])
    elif place and _is_on_cluster():
        raise StoreError(f"{place}: is gone with its pod; expected gs:// or s3://bucket/prefix, or nothing")


def _check_service(config: TextConfig) -> None:
    """Check that the key of the language model is there and its cache can be written; the service is not asked."""
    if config.asks_a_model:
        key = os.environ.get(API_KEYS[config.text_provider], "")
        create_client(config.text_provider, config.text_base_url or None, key, config.text_timeout_s)
        _check_writable(config.text_cache)


def _check_disk() -> None:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        raise OSError(f"{folder}: has {free >> 20} MiB left, expected at least {FREE_BYTES >> 20}; free some space")
