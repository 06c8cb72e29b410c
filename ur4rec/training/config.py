"""Settings of the training, free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from pydantic import Field

from ur4rec.config_section import ConfigSection, FromData
from ur4rec.models.config import (
    MemoryConfig,
    ModelConfig,
    PairsConfig,
    Part,
    RetrieverConfig,
    SASRecConfig,
    SystemConfig,
)
from ur4rec.training.stage_names import STAGES, Stage

WindowsPerUser = Literal["one", "all"]


class NegativesConfig(ConfigSection):
    """Settings of what a target competes with in training."""

    num_negatives: FromData[int] = Field(0, ge=0, le=2**20)
    """0: softmax over the whole catalogue at every position; otherwise over this many shared negatives."""


class RetrieverLossConfig(ConfigSection):
    """Settings of what is added to the loss where the retriever takes part."""

    alignment_weight: float = Field(0.0, ge=0)
    """Weight of a second loss of the retriever, in which every item is its text alone. It aligns what a user wants with
    what the texts say, so that an item without interactions can be found."""
    load_balance_weight: float = Field(0.0, ge=0)
    """Weight of a loss that grows when the router prefers some experts to others."""


class ObjectiveConfig(NegativesConfig, RetrieverLossConfig):
    """Settings of what is minimised."""


class EpochsConfig(NegativesConfig):
    """Settings that every stage is trained by."""

    batch_size: FromData[int] = Field(128, ge=1)
    epochs_per_stage: FromData[int] = Field(60, ge=1)
    patience: FromData[int] = Field(12, ge=1)
    """Validations without a better score before a stage stops."""
    weight_decay: float = Field(0.01, ge=0)
    warmup_share: FromData[float] = Field(0.05, ge=0, lt=1)
    gradient_clip: float = Field(1.0, gt=0)
    ema_decay: float = Field(0.98, ge=0, lt=1)
    """Decay of the averaged weights that are evaluated and kept; 0 keeps the last ones."""
    windows_per_user: FromData[WindowsPerUser] = "one"
    """An epoch reads one window of each user, or as many as hold every interaction."""
    random_window_share: float = Field(0.5, ge=0, le=1)
    shuffle_ties: bool = True
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = Field(42, ge=0, le=2**32 - 1)


class SasrecTrainingConfig(EpochsConfig):
    """Settings that SASRec is trained by."""

    sasrec_lr: FromData[float] = Field(4e-3, gt=0)


class RetrieverTrainingConfig(EpochsConfig, RetrieverLossConfig):
    """Settings that the retriever is trained by."""

    retriever_lr: FromData[float] = Field(4e-3, gt=0)


class FinetuningConfig(SasrecTrainingConfig, RetrieverTrainingConfig):
    """Settings that both are trained on by."""

    finetune_lr_scale: float = Field(0.02, gt=0)
    """Factor of both learning rates in the last two stages."""
    finetune_patience: FromData[int] = Field(4, ge=1)
    """What `patience` is in the last two stages, where it is shorter: these begin near their best."""


class TrainingConfig(FinetuningConfig, ObjectiveConfig):
    """All settings that the stages are trained by."""

    adaptive_switch_threshold: float = Field(0.01, ge=0)
    adaptive_min_steps: int = Field(20, ge=1)


class TextControl(StrEnum):
    """A stand-in for the text embeddings, to see what their meaning brings."""

    NONE = "none"
    SHUFFLED = "shuffled"
    """Every item has another item's text, every sentence of a user is another sentence."""
    RANDOM = "random"
    """Gaussian vectors with the mean and the covariance of the true ones."""
    ABSENT = "absent"
    """No texts: the retriever has the items' ID vectors alone."""


class TextControlConfig(ConfigSection):
    """Setting of what the retriever is given as texts."""

    text_control: TextControl = TextControl.NONE
    """Stand-in for the texts; read by `pretrain_retriever`."""


class PretrainSasrecConfig(SASRecConfig, PairsConfig, SasrecTrainingConfig):
    """Everything that the first stage reads."""


class PretrainRetrieverConfig(
    SASRecConfig,
    RetrieverConfig,
    MemoryConfig,
    PairsConfig,
    SystemConfig,
    RetrieverTrainingConfig,
    TextControlConfig,
):
    """Everything that the second stage reads; SASRec is there, but not trained."""


class JointFinetuneConfig(ModelConfig, TrainingConfig):
    """Everything that the third stage reads; it alternates."""


class EndToEndConfig(ModelConfig, FinetuningConfig):
    """Everything that the last stage reads."""


class StageConfig(ModelConfig, TrainingConfig, TextControlConfig):
    """Everything that the stages read."""


READ_BY: Mapping[str, type[ConfigSection]] = {
    Stage.PRETRAIN_SASREC: PretrainSasrecConfig,
    Stage.PRETRAIN_RETRIEVER: PretrainRetrieverConfig,
    Stage.JOINT_FINETUNE: JointFinetuneConfig,
    Stage.END_TO_END: EndToEndConfig,
}
"""Stage → the fields that can change its result, given what the stage before it wrote."""


def stages_of(config: ModelConfig) -> tuple[str, ...]:
    """Return the names of the stages of the configured system, in order.

    Where the whole score is the retriever's there is no SASRec to train first, and nothing to fuse.

    >>> stages_of(ModelConfig(system="UR4RecMoEMemory"))
    ('pretrain_retriever', 'end_to_end')
    """
    alone = (Stage.PRETRAIN_RETRIEVER.value, Stage.END_TO_END.value)
    return alone if config.whole is Part.RETRIEVER else STAGES
