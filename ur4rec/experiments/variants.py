"""What an ablation is asked to do: variants are data in a YAML file; all is checked before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, RootModel, StringConstraints

from ur4rec.config import CONFIGS, Config
from ur4rec.evaluation.baselines import BASELINES
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.evaluation.systems import SASREC
from ur4rec.experiments.stage_cache import check_stage
from ur4rec.experiments.yaml_files import ExperimentError, read_yaml
from ur4rec.models.config import Part
from ur4rec.ranking.metrics import METRICS
from ur4rec.training.config import StageConfig
from ur4rec.training.stage_names import Stage

SHIPPED_VARIANTS = CONFIGS / "experiments" / "ablations.yaml"
RULE = "seen_items"
"""Setting by which ranks are measured: what differs in it cannot be compared."""
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
    """Read a file of variants by name, the shipped one without a path.

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
        if key == RULE:
            raise ExperimentError(f"variant {name}: {key}: is what all are measured by; set it for all with --set")
        if key not in StageConfig.model_fields:
            raise ExperimentError(f"variant {name}: {key}: no training stage reads it, so it would change nothing")
    return config


@dataclass(frozen=True)
class Ablation:
    """What to compare."""

    variants: Mapping[str, Variant]
    seeds: Sequence[int]
    """Each variant is trained with each."""
    only: Sequence[str] = ()
    """Variants to train besides the reference; empty: all."""
    reference: str = "full"
    """What the others are compared with."""
    metric: str = "ndcg@10"

    def check(self) -> None:
        """Checks the names and seeds.

        Raises:
            ExperimentError: A name is unknown, or a seed is given twice or none at all; names the option.
        """
        for option, name in (*(("--only", name) for name in self.only), ("--reference", self.reference)):
            if name not in self.variants:
                known = ", ".join(self.variants)
                raise ExperimentError(f"{option} {name}: no such variant; expected one of {known}")
        check_metric(self.metric)
        if len(set(self.seeds)) < len(self.seeds) or not self.seeds:
            given = " ".join(map(str, self.seeds)) or "none"
            raise ExperimentError(f"--seeds {given}: expected at least one, each once")

    def is_selected(self, name: str) -> bool:
        """Whether a variant is to be trained."""
        return not self.only or name in (*self.only, self.reference)


def check_metric(metric: str) -> None:
    """Refuse the name of no metric of a rank."""
    if metric not in METRICS:
        raise ExperimentError(f"--metric {metric}: expected one of {', '.join(METRICS)}")


def check_protocol(config: EvaluationConfig) -> None:
    """Refuse another protocol than that of experiments, which rank the whole catalogue."""
    if config.eval_protocol != "full":
        raise ExperimentError(f"eval_protocol: {config.eval_protocol}: experiments rank the whole catalogue; use full")
