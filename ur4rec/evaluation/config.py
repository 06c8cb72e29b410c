"""What the evaluation can be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ur4rec.config_section import ConfigSection

BaselineName = Literal["popularity", "ease", "recency_ease"]


class EvaluationConfig(ConfigSection):
    """How systems are ranked and what they are compared with."""

    eval_protocol: Literal["full"] = "full"
    """The whole catalogue is ranked."""
    baselines: tuple[BaselineName, ...] = ("popularity", "recency_ease")
    """Reported beside the model and its first stage."""
    ease_max_items: int = Field(20_000, ge=1)
    """Larger catalogues are not fitted by EASE: its weights are a dense square matrix over the items."""
    eval_batch_size: int = Field(256, ge=1)
    """Users scored at once; changes memory and speed, not results."""
    bootstrap_samples: int = Field(2000, ge=100)
    """Resamples of the users behind each 95 % interval."""
