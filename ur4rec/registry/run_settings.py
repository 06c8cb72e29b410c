"""The settings of a run of the pipeline: what the run is told → what each of its tasks reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import model_validator

from ur4rec.auto.settle import spell
from ur4rec.config_section import ConfigError, ConfigSection, parse_setting
from ur4rec.data.config import DataConfig
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.models.config import Part, SystemConfig
from ur4rec.registry.config import RegistrationConfig, RegistryConfig
from ur4rec.text.config import EncodeConfig, ShardsConfig, TextConfig
from ur4rec.training.config import READ_BY, StageConfig, stages_of
from ur4rec.training.stage_names import STAGES

NAMED = (
    "system",
    "seed",
    "text_provider",
    "max_seq_len",
    "max_memory_size",
    "update_trigger",
    "batch_size",
    "epochs_per_stage",
    "sasrec_lr",
    "retriever_lr",
)
"""Settings that are parameters of the pipeline by themselves, as text, so that runs can be compared by them.

They say which model is trained and how long. What is not here goes with others (the three widths), or says where
things are rather than what the model is (names, aliases, addresses).
"""
SETTINGS = "settings"
"""Parameter with what differs from the defaults of all other settings."""


class Config(DataConfig, TextConfig, EncodeConfig, StageConfig, EvaluationConfig, RegistryConfig):
    """Every field of every group."""

    @model_validator(mode="after")
    def _starts_with_what_it_has(self) -> Config:
        if self.warm_start and self.whole is Part.RETRIEVER:
            raise ValueError(
                f"warm_start: {self.warm_start} goes with a system that has SASRec, which {self.system} has not; "
                "leave warm_start empty, or choose another system"
            )
        return self


def name_settings(config: Config) -> dict[str, Any]:
    """Return a configuration as parameters of the pipeline: the named settings, and what else is not the default."""
    values, changes = config.to_dict(), config.list_changes()
    rest = {name: value for name, value in changes.items() if name not in NAMED}
    return {name: spell(values[name]) for name in NAMED} | {SETTINGS: rest}


def join_settings(named: Mapping[str, Any], rest: Mapping[str, Any], source: str = SETTINGS) -> Config:
    """Return the configuration that parameters of the pipeline stand for.

    Args:
        named: Setting → text, read as YAML; empty ones are not given.
        rest: Other settings; may repeat a named one that has the same value.
        source: Begins the messages.

    Raises:
        ConfigError: A setting is unknown or wrong, or given twice with two values.
    """
    given = {name: parse_setting(name, value) for name, value in named.items() if str(value).strip()}
    config = Config.parse({**rest, **given}, source)
    twice = Config.parse({**given, **rest}, source).to_dict()
    for name, value in config.to_dict().items():
        if value != twice[name]:
            raise ConfigError(f"{source}: {name}: is {spell(value)} and {spell(twice[name])}; keep one of them")
    return config


def split_settings(config: Config) -> dict[str, dict[str, Any]]:
    """Return the settings of each task that differ from the defaults; equal ones mean equal results.

    A stage that the system does not have is told the system alone, which is all that it depends on.

    Returns:
        Name of the group, an output of the first task → setting → value.
    """
    stages, text = stages_of(config), config.narrow(TextConfig)
    trained = {
        f"{name}_config": config.narrow(READ_BY[stage] if stage in stages else SystemConfig)
        for name, stage in zip(("sasrec", "retriever", "joint", "final"), STAGES, strict=True)
    }
    groups: dict[str, ConfigSection] = {
        "data_config": config.narrow(DataConfig),
        "text_config": text,
        "shards_config": config.narrow(ShardsConfig),
        "writing_config": text.read(),
        "encode_config": config.narrow(EncodeConfig),
        **trained,
        "evaluation_config": config.narrow(EvaluationConfig),
        "registration_config": config.narrow(RegistrationConfig),
        "registry_config": config.narrow(RegistryConfig),
    }
    return {name: group.list_changes() for name, group in groups.items()}
