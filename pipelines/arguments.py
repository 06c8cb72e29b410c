"""From a configuration and files to the arguments of the pipeline."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ur4rec.config_section import ConfigSection
from ur4rec.data.config import DataConfig
from ur4rec.data.sources import DATASETS, fetch
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.input_digests import InputDigests, resolve_inputs
from ur4rec.registry.config import RegistrationConfig, RegistryConfig
from ur4rec.registry.gate.rules import load_rules
from ur4rec.registry.mlflow_client import ENVIRONMENT, TRACKING_URI, public_uri
from ur4rec.storage.artifacts import sha256_file
from ur4rec.storage.code_digest import code_digest
from ur4rec.storage.inputs import is_cloud
from ur4rec.text.config import EncodeConfig, ShardsConfig, TextConfig
from ur4rec.training.config import READ_BY, STAGES

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


class DataNotFoundError(ValueError):
    """Neither the name of a data set nor a path."""


class StagesError(ValueError):
    """A system that cannot go through the four tasks of the pipeline."""


@dataclass(frozen=True)
class Inputs:
    """The files that a run reads: paths, or `gs://…`."""

    interactions: str
    items: str | None = None
    item_text: str | None = None
    user_text: str | None = None


@dataclass(frozen=True)
class Tracking:
    """Where MLflow is."""

    uri: str
    """As MLflow needs it; may hold credentials."""

    @property
    def public(self) -> str:
        """Without credentials."""
        return public_uri(self.uri)

    @property
    def parameter(self) -> str:
        """What the task is told: nothing where the address holds credentials that only the environment may carry."""
        return self.uri if self.uri == self.public else ""

    @property
    def environment(self) -> dict[str, str]:
        """Variables for the tasks; those that the user has set stay."""
        return {name: os.environ.get(name, value) for name, value in ENVIRONMENT.items()} | {TRACKING_URI: self.uri}


def locate_data(data: str) -> str:
    """A known data set by its name, fetched if need be; anything else is a path or `gs://…`.

    Raises:
        DataNotFoundError: It is neither.
        SourceError: The data set cannot be fetched.
    """
    names = [dataset.name for dataset in DATASETS]
    if data in names:
        return str(fetch(data))
    if is_cloud(data):
        return data
    if not Path(data).exists():
        raise DataNotFoundError(f"--data {data}: expected {', '.join(names)}, an existing file or folder, or gs://…")
    return str(Path(data).absolute())


def locate_file(option: str, location: str | None, kind: str) -> str | None:
    """A file: a path or `gs://…`; None where none is named.

    Args:
        option: That names it.
        location: As it is named.
        kind: Which files will do.

    Raises:
        DataNotFoundError: There is no such file.
    """
    if location is None or is_cloud(location):
        return location
    if not Path(location).is_file():
        raise DataNotFoundError(f"{option} {location}: no such file; expected {kind}, or gs://…")
    return str(Path(location).absolute())


def check_system(config: Config) -> None:
    """Checks that the system has every stage that the pipeline has a task for.

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


def build_arguments(
    config: Config,
    inputs: Inputs,
    device: str,
    tracking: Tracking,
    state: str = "",
    scheduled: bool = False,
    gate_rules: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Every parameter of the pipeline; equal arguments mean equal results, as far as the registry does not change.

    Args:
        config: The settings.
        inputs: What is read.
        device: auto, cpu or cuda.
        tracking: Where MLflow is.
        state: Where unfinished stages keep their state.
        scheduled: The run finds out by itself what the data and texts are, each time anew: their digests stay empty.
        gate_rules: As `read_gate_rules` gives them; None: those that are shipped with the code that runs.

    Raises:
        DataError: An input file is missing.
        StagesError: The system lacks a stage.
    """
    check_system(config)
    read = {
        "interactions": str(inputs.interactions),
        "items": inputs.items or "",
        "item_text": inputs.item_text or "",
        "user_text": inputs.user_text or "",
    }
    text_config = config.narrow(TextConfig)
    resolved = InputDigests("", "") if scheduled else resolve_inputs(config=text_config, **read)
    digests = {name: code_digest(*modules) for name, modules in CODE.items()}
    if Path(config.text_model_name).is_dir():
        digests["text_code"] += f" with {_digest_folder(Path(config.text_model_name))}"
    if not tracking.parameter:
        digests["registry_code"] += f" for {tracking.public}"
    return {
        **read,
        **resolved._asdict(),
        "device": device,
        "state": state,
        "tracking_uri": tracking.parameter,
        "data_config": list_settings(config.narrow(DataConfig)),
        "text_config": list_settings(text_config),
        "shards_config": list_settings(config.narrow(ShardsConfig)),
        "writing_config": list_settings(text_config.read()),
        "encode_config": list_settings(config.narrow(EncodeConfig)),
        **{name: list_settings(config.narrow(READ_BY[stage])) for name, stage in STAGE_CONFIGS.items()},
        "evaluation_config": list_settings(config.narrow(EvaluationConfig)),
        "registration_config": list_settings(config.narrow(RegistrationConfig)),
        "registry_config": list_settings(config.narrow(RegistryConfig)),
        "gate_rules": dict(gate_rules or {}),
        **digests,
    }


def _digest_folder(folder: Path) -> str:
    files = {path.relative_to(folder).as_posix(): sha256_file(path) for path in folder.rglob("*") if path.is_file()}
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def read_gate_rules(path: Path | None) -> dict[str, Any]:
    """All rules of the gate as a parameter: the shipped ones, changed by a file.

    Raises:
        ConfigError: The file cannot be read, or a rule in it is unknown or wrong.
    """
    return load_rules(path).model_dump(mode="json", exclude_none=True)


def list_settings(section: ConfigSection) -> dict[str, Any]:
    """A group of settings as a parameter; None, which kfp cannot carry, is left to the default.

    Raises:
        AssertionError: A field is None whose default is something else.
    """
    defaults = type(section).model_fields
    settings = section.to_dict()
    for name, value in settings.items():
        assert value is not None or defaults[name].default is None, f"{name}: None is not its default"
    return {name: value for name, value in settings.items() if value is not None}
