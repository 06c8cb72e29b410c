"""What an experiment is asked to do, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.experiments.variants import Variant, check_names
from ur4rec.experiments.yaml_files import ExperimentError
from ur4rec.ranking.metrics import METRICS


@dataclass(frozen=True)
class Ablation:
    """What to compare.

    Args:
        variants: Name → variant.
        seeds: Each variant is trained with each.
        only: Variants to train besides the reference; empty: all.
        reference: What the others are compared with.
        metric: Of `METRICS`.
    """

    variants: Mapping[str, Variant]
    seeds: Sequence[int]
    only: Sequence[str] = ()
    reference: str = "full"
    metric: str = "ndcg@10"

    def check(self) -> None:
        """Checks the names and seeds.

        Raises:
            ExperimentError: A name is unknown, or a seed is given twice or none at all; names the option.
        """
        check_names(self.only, self.variants, "--only")
        check_names([self.reference], self.variants, "--reference")
        check_metric(self.metric)
        if len(set(self.seeds)) < len(self.seeds) or not self.seeds:
            given = " ".join(map(str, self.seeds)) or "none"
            raise ExperimentError(f"--seeds {given}: expected at least one, each once")

    def is_selected(self, name: str) -> bool:
        """Whether a variant is to be trained."""
        return not self.only or name in (*self.only, self.reference)


def check_metric(metric: str) -> None:
    """Checks the name of a metric.

    Raises:
        ExperimentError: It is none of `METRICS`.
    """
    if metric not in METRICS:
        raise ExperimentError(f"--metric {metric}: expected one of {', '.join(METRICS)}")


def check_protocol(config: EvaluationConfig) -> None:
    """Experiments rank the whole catalogue.

    Raises:
        ExperimentError: Another protocol is configured.
    """
    if config.eval_protocol != "full":
        raise ExperimentError(f"eval_protocol: {config.eval_protocol}: experiments rank the whole catalogue; use full")
