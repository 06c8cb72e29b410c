"""The arguments of the pipeline, made from a configuration and inputs, and read back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.inputs import Inputs
from ur4rec.commands.console import split_settings
from ur4rec.config import override_values
from ur4rec.input_digests import InputDigests, resolve_inputs
from ur4rec.registry.run_settings import NAMED, SETTINGS, join_settings, name_settings
from ur4rec.storage.artifacts import sha256_file
from ur4rec.storage.code_digest import code_digest
from ur4rec.text.config import TextConfig

if TYPE_CHECKING:
    from ur4rec.config import Config

CODE = {
    "data_code": ("ur4rec.data.preprocess",),
    "text_code": ("ur4rec.text.generate", "ur4rec.text.shards", "ur4rec.text.encode"),
    "training_code": ("ur4rec.training.stage_task",),
    "evaluation_code": ("ur4rec.evaluation.evaluate",),
    "registry_code": ("ur4rec.registry.register",),
    "gate_code": ("ur4rec.registry.gate.gate", "ur4rec.registry.champion.retrain"),
}
"""Parameter of the pipeline → what its tasks call."""
GROUP_SUFFIX = "_config"
"""Ends the parameters that held settings, a group for each task, in pipelines compiled by earlier releases."""


def build_arguments(config: Config, inputs: Inputs, scheduled: bool = False) -> dict[str, Any]:
    """Return every parameter of the pipeline; equal ones mean equal results, as far as the registry does not change.

    Args:
        config: The settings.
        inputs: What else the run is told.
        scheduled: The run finds out by itself what the data and texts are, each time anew: their digests stay empty.

    Raises:
        DataError: An input file is missing.
        StoreError: The data cannot be listed.
    """
    read = {
        "interactions": str(inputs.interactions),
        "items": inputs.items,
        "item_text": inputs.item_text,
        "user_text": inputs.user_text,
    }
    resolved = InputDigests("", "") if scheduled else resolve_inputs(config=config.narrow(TextConfig), **read)
    digests = {name: code_digest(*modules) for name, modules in CODE.items()}
    if Path(config.text_model_name).is_dir():
        digests["text_code"] += f" with {_digest_folder(Path(config.text_model_name))}"
    if inputs.tracking.uri and not inputs.tracking.parameter:
        digests["registry_code"] += f" for {inputs.tracking.public}"
    return {
        **read,
        **resolved._asdict(),
        "device": inputs.device,
        "state": inputs.state,
        "tracking_uri": inputs.tracking.parameter,
        **name_settings(config),
        "gate_rules": dict(inputs.gate_rules),
        **digests,
    }


def _digest_folder(folder: Path) -> str:
    files = {path.relative_to(folder).as_posix(): sha256_file(path) for path in folder.rglob("*") if path.is_file()}
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def read_settings(parameters: Mapping[str, Any]) -> Config:
    """Return the configuration that a run's parameters hold.

    Raises:
        ConfigError: They hold keys that this version does not know, or one twice with two values.
    """
    groups = [group for name, group in parameters.items() if name.endswith(GROUP_SUFFIX)]
    rest = {key: value for group in (*groups, parameters.get(SETTINGS) or {}) for key, value in group.items()}
    named = {name: parameters.get(name) or "" for name in NAMED}
    return join_settings(named, rest, "parameters of the run")


def restore_config(parameters: Mapping[str, Any], settings: Sequence[str]) -> Config:
    """Return the same, with overrides.

    Raises:
        ConfigError: The parameters cannot be read, or an override is wrong.
    """
    held = read_settings(parameters).list_changes()
    return override_values(held, split_settings(settings), "parameters of the run")
