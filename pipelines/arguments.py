"""The arguments of the pipeline, made from a configuration and inputs, and read back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.inputs import Inputs
from ur4rec.commands.console import split_settings
from ur4rec.config_section import ConfigSection
from ur4rec.data.config import DataConfig
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.input_digests import InputDigests, resolve_inputs
from ur4rec.registry.config import RegistrationConfig, RegistryConfig
from ur4rec.storage.artifacts import sha256_file
from ur4rec.storage.code_digest import code_digest
from ur4rec.text.config import EncodeConfig, ShardsConfig, TextConfig
from ur4rec.training.config import READ_BY
from ur4rec.training.stage_names import STAGES

if TYPE_CHECKING:
    from ur4rec.config import Config

CODE = {
    "data_code": ("ur4rec.data.preprocess",),
    "text_code": ("ur4rec.text.generate", "ur4rec.text.shards", "ur4rec.text.encode"),
    "training_code": ("ur4rec.training.stages",),
    "evaluation_code": ("ur4rec.evaluation.evaluate",),
    "registry_code": ("ur4rec.registry.register",),
    "gate_code": ("ur4rec.registry.gate.gate", "ur4rec.registry.champion.retrain"),
}
"""Parameter of the pipeline → what its tasks call."""
STAGE_CONFIGS = dict(zip(("sasrec_config", "retriever_config", "joint_config", "final_config"), STAGES, strict=True))
"""Parameter of the pipeline → stage that it is for."""
CONFIG_SUFFIX = "_config"


class StagesError(ValueError):
    """A system that cannot go through the four tasks of the pipeline."""


def check_system(config: Config) -> None:
    """Check that the system has every stage that the pipeline has a task for.

    Raises:
        StagesError: It has not; names the stages it has and what trains it.
    """
    from ur4rec.training.stages import stages_of

    stages = stages_of(config)
    if stages != STAGES:
        raise StagesError(
            f"system: {config.system}: has the stages {', '.join(stages)} only, and the pipeline runs all of "
            f"{', '.join(STAGES)}; train it with `ur4rec train`"
        )


def build_arguments(config: Config, inputs: Inputs, scheduled: bool = False) -> dict[str, Any]:
    """Return every parameter of the pipeline; equal ones mean equal results, as far as the registry does not change.

    Args:
        config: The settings.
        inputs: What else the run is told.
        scheduled: The run finds out by itself what the data and texts are, each time anew: their digests stay empty.

    Raises:
        DataError: An input file is missing.
        StoreError: The data cannot be listed.
        StagesError: The system lacks a stage.
    """
    check_system(config)
    read = {
        "interactions": str(inputs.interactions),
        "items": inputs.items,
        "item_text": inputs.item_text,
        "user_text": inputs.user_text,
    }
    text_config = config.narrow(TextConfig)
    resolved = InputDigests("", "") if scheduled else resolve_inputs(config=text_config, **read)
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
        "data_config": list_settings(config.narrow(DataConfig)),
        "text_config": list_settings(text_config),
        "shards_config": list_settings(config.narrow(ShardsConfig)),
        "writing_config": list_settings(text_config.read()),
        "encode_config": list_settings(config.narrow(EncodeConfig)),
        **{name: list_settings(config.narrow(READ_BY[stage])) for name, stage in STAGE_CONFIGS.items()},
        "evaluation_config": list_settings(config.narrow(EvaluationConfig)),
        "registration_config": list_settings(config.narrow(RegistrationConfig)),
        "registry_config": list_settings(config.narrow(RegistryConfig)),
        "gate_rules": dict(inputs.gate_rules),
        **digests,
    }


def _digest_folder(folder: Path) -> str:
    files = {path.relative_to(folder).as_posix(): sha256_file(path) for path in folder.rglob("*") if path.is_file()}
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def list_settings(section: ConfigSection) -> dict[str, Any]:
    """Return a group of settings as a parameter; None, which kfp cannot carry, is left to the default.

    Raises:
        AssertionError: A field is None whose default is something else.
    """
    defaults = type(section).model_fields
    settings = section.to_dict()
    for name, value in settings.items():
        assert value is not None or defaults[name].default is None, f"{name}: None is not its default"
    return {name: value for name, value in settings.items() if value is not None}


def restore_config(parameters: Mapping[str, Any], settings: Sequence[str]) -> Config:
    """Return the configuration that a run's parameters hold, with overrides.

    Raises:
        ConfigError: They hold keys that this version does not know, or an override is wrong.
    """
    from ur4rec.config import override_values

    groups = [group for name, group in parameters.items() if name.endswith(CONFIG_SUFFIX)]
    held = {key: value for group in groups for key, value in group.items()}
    return override_values(held, split_settings(settings), "parameters of the schedule")
