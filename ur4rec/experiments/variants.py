"""The variants of an ablation: data in a YAML file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, RootModel, StringConstraints

from ur4rec.config import CONFIGS, Config
from ur4rec.evaluation.baselines import BASELINES
from ur4rec.evaluation.systems import SASREC
from ur4rec.experiments.stage_cache import check_stage
from ur4rec.experiments.yaml_files import ExperimentError, read_yaml
from ur4rec.models.config import Part
from ur4rec.training.config import Stage, StageConfig

SHIPPED_VARIANTS = CONFIGS / "experiments" / "ablations.yaml"
TAKEN = (SASREC, *BASELINES)
"""Rows of the table that are no variants."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class Variant(BaseModel):
    """One line of an ablation: what differs from the base configuration, and which score is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str
    settings: dict[str, Any] = {}
    """Keys of the configuration that replace those of the base."""
    part: Part = Part.FUSED
    """Whose score is ranked: the fused one, SASRec's or the retriever's."""
    stage: Stage = Stage.END_TO_END
    """The last stage that is trained; the score is read after it."""


class _Variants(RootModel[dict[Name, Variant]]):
    pass


def load_variants(path: Path | None = None) -> dict[str, Variant]:
    """Reads a file of variants: name → description, settings, part, stage.

    Args:
        path: The file; None for the shipped one.

    Raises:
        ExperimentError: The file cannot be read, or a name or key is wrong; names it.
    """
    path = path or SHIPPED_VARIANTS
    variants = read_yaml(path, _Variants).root
    for name in TAKEN:
        if name in variants:
            raise ExperimentError(f"{path}: {name}: is the name of a row that every table has; choose another")
    return variants


def configure(name: str, variant: Variant, base: Config) -> Config:
    """The base configuration with the settings of a variant.

    Raises:
        ConfigError: A setting's key is unknown or its value out of range.
        ExperimentError: No stage reads a setting, so it could not make a difference, or it is the seed; or the system
            lacks the stage or the part.
    """
    config = Config.parse(base.to_dict() | variant.settings, f"variant {name}")
    check_stage(variant.stage, config, f"variant {name}")
    if variant.part is Part.SASREC and config.whole is Part.RETRIEVER:
        raise ExperimentError(f"variant {name}: part sasrec: system {config.system} has no SASRec")
    for key in variant.settings:
        if key == "seed":
            raise ExperimentError(f"variant {name}: seed: every variant is trained with each of --seeds; leave it out")
        if key not in StageConfig.model_fields:
            raise ExperimentError(f"variant {name}: {key}: no training stage reads it, so it would change nothing")
    return config


def check_names(names: Sequence[str], variants: Iterable[str], option: str) -> None:
    """Checks that all names are variants.

    Raises:
        ExperimentError: One is not; names the option and the variants there are.
    """
    known = list(variants)
    for name in names:
        if name not in known:
            raise ExperimentError(f"{option} {name}: no such variant; expected one of {', '.join(known)}")
