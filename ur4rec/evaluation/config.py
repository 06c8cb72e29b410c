"""What the evaluation can be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ur4rec.config_section import ConfigSection

BaselineName = Literal["popularity", "ease", "recency_ease", "again"]
"""Keys of `ur4rec.evaluation.baselines.BASELINES`, which this module, free of torch, cannot read."""


class CandidateConfig(ConfigSection):
    """What competes with a target in the sampled protocol."""

    num_candidates: int = Field(99, ge=1, le=2**20)
    """`eval_protocol: sampled` ranks the target among itself and this many items that the user never touched."""
    candidate_seed: int = Field(42, ge=0)
    """Draws the candidates; the training's `seed` does not, so that every run is ranked on the same ones."""


class EvaluationConfig(CandidateConfig):
    """How systems are ranked and what they are compared with."""

    eval_protocol: Literal["full", "sampled"] = "full"
    """The whole catalogue is ranked, or a sample of it."""
    baselines: tuple[BaselineName, ...] = ("popularity", "recency_ease")
    """Reported beside the model and its first stage; `again` always is where `seen_items` is `include`."""
    ease_max_items: int = Field(20_000, ge=1)
    """Larger catalogues are not fitted by EASE: its weights are a dense square matrix over the items."""
    eval_batch_size: int = Field(256, ge=1)
    """Users scored at once; changes memory and speed, not results."""
    bootstrap_samples: int = Field(2000, ge=100, le=2**20)
    """Resamples of the users behind each 95 % interval."""
