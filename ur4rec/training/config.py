"""How the stages are trained, free of torch."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from ur4rec.config_section import ConfigSection
from ur4rec.models.config import ModelConfig


class ObjectiveConfig(ConfigSection):
    """What is minimised."""

    num_negatives: int = Field(0, ge=0, le=2**20)
    """0: softmax over the whole catalogue at every position; otherwise over this many shared negatives."""
    alignment_weight: float = Field(0.0, ge=0)
    """Of a second loss of the retriever, in which every item is its text alone: it aligns what a user wants with what
    the texts say, so that an item without interactions can be found."""
    load_balance_weight: float = Field(0.0, ge=0)
    """Of a loss that grows when the router prefers some experts to others."""


class TrainingConfig(ObjectiveConfig):
    """How every stage is trained."""

    batch_size: int = Field(128, ge=1)
    epochs_per_stage: int = Field(60, ge=1)
    patience: int = Field(12, ge=1)
    """Validations without a better score before a stage stops."""
    sasrec_lr: float = Field(4e-3, gt=0)
    retriever_lr: float = Field(4e-3, gt=0)
    finetune_lr_scale: float = Field(0.02, gt=0)
    """Of both learning rates, in the last two stages."""
    weight_decay: float = Field(0.01, ge=0)
    warmup_share: float = Field(0.05, ge=0, lt=1)
    gradient_clip: float = Field(1.0, gt=0)
    ema_decay: float = Field(0.98, ge=0, lt=1)
    """Of the averaged weights that are evaluated and kept; 0 keeps the last ones."""
    random_window_share: float = Field(0.5, ge=0, le=1)
    shuffle_ties: bool = True
    adaptive_switch_threshold: float = Field(0.01, ge=0)
    adaptive_min_steps: int = Field(20, ge=1)
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = Field(42, ge=0, le=2**32 - 1)


class TextControl(StrEnum):
    """What stands in for the text embeddings."""

    NONE = "none"
    SHUFFLED = "shuffled"
    """Every item has another item's text, every sentence of a user is another sentence."""
    RANDOM = "random"
    """Gaussian vectors with the mean and the covariance of the true ones."""
    ABSENT = "absent"
    """No texts: the retriever has the items' ID vectors alone."""


class StageConfig(ModelConfig, TrainingConfig):
    """Everything a stage reads."""

    text_control: TextControl = TextControl.NONE
    """What the retriever is given instead of the texts' meaning; read by `pretrain_retriever`."""
