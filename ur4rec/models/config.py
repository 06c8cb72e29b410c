"""Settings that shape the model; free of torch, so that a command which trains nothing starts at once."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, model_validator

from ur4rec.config_section import ConfigError, ConfigSection, FromData

WIDEST = 2**16
"""Largest dimension of a tensor: the square of a larger one fits no machine."""


def _check_heads(section: ConfigSection, width_key: str, heads_key: str) -> None:
    width, heads = getattr(section, width_key), getattr(section, heads_key)
    if width % heads:
        raise ValueError(f"{width_key} {width} is not a multiple of {heads_key} {heads}; change one of them")


class SASRecConfig(ConfigSection):
    """Shape of the sequence encoder."""

    sasrec_hidden_dim: FromData[int] = Field(64, ge=1, le=WIDEST)
    sasrec_num_blocks: int = Field(2, ge=1, le=1024)
    sasrec_num_heads: int = Field(2, ge=1, le=WIDEST)
    sasrec_dropout: FromData[float] = Field(0.3, ge=0, lt=1)
    sasrec_item_factors: FromData[int] = Field(128, ge=0, le=WIDEST)
    """Width of a fixed table of item factors that a linear map adds to the item embeddings; 0 leaves it out."""
    max_seq_len: FromData[int] = Field(50, ge=1, le=2**20)
    """Most recent interactions that an encoder reads."""

    @model_validator(mode="after")
    def _splits_sasrec_into_heads(self) -> SASRecConfig:
        _check_heads(self, "sasrec_hidden_dim", "sasrec_num_heads")
        return self


class Expert(StrEnum):
    """An expert by what it attends to; `ur4rec.models.experts` has the class of each."""

    USER_PREFERENCE = "user_preference"
    ITEM_DESCRIPTION = "item_description"
    ITEM_EMBEDDING = "item_embedding"


class RetrieverConfig(ConfigSection):
    """Shape of the retriever."""

    retriever_output_dim: FromData[int] = Field(64, ge=1, le=WIDEST)
    moe_num_heads: int = Field(2, ge=1, le=WIDEST)
    moe_dropout: FromData[float] = Field(0.2, ge=0, lt=1)
    moe_num_proxies: int = Field(4, ge=0, le=WIDEST)
    """Learnable tokens that refine the mixture; 0 replaces router and self-attention by a plain average."""
    moe_experts: FromData[tuple[Expert, ...]] = Field(tuple(Expert), min_length=1)
    """Experts that take part."""
    text_components: int = Field(128, ge=1, le=WIDEST)
    """Principal components of the text embeddings that are kept."""
    text_whitening: float = Field(1.0, ge=0, le=1)
    """Power to which their standard deviations are taken out: 1 leaves all components alike, 0 as they are."""
    id_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of items whose ID embedding is left out of a training step, so that their text must do."""
    id_bound: FromData[float] = Field(0.0, ge=0)
    """Largest length of an item's ID vector, as a multiple of its projected text's; 0 sets no bound. With a bound, ID
    vectors begin at zero, and the retriever says something else than SASRec does."""

    @model_validator(mode="after")
    def _splits_retriever_into_heads(self) -> RetrieverConfig:
        _check_heads(self, "retriever_output_dim", "moe_num_heads")
        return self


class UpdateTrigger(StrEnum):
    """When the memory takes in the interactions that are pending."""

    INTERACTION_COUNT = "interaction_count"
    DRIFT_THRESHOLD = "drift_threshold"
    TIME_BASED = "time_based"
    EXPLICIT = "explicit"


class MemoryConfig(ConfigSection):
    """Shape of the memory and when it is updated.

    A user takes `4·M·E + 4·D + 32` bytes, in memory and in the file: `max_memory_size` states of width `memory_dim`,
    the pending sum of the retriever's width, four counters. With the defaults that is 2,848 bytes; 2.8 GB for a million
    users.
    """

    memory_dim: FromData[int] = Field(64, ge=1, le=WIDEST)
    max_memory_size: int = Field(10, ge=0, le=WIDEST)
    """Slots per user; 0 turns the memory off."""
    update_trigger: UpdateTrigger = UpdateTrigger.INTERACTION_COUNT
    interaction_threshold: FromData[int] = Field(10, ge=1)
    """Pending interactions that cause an update; read by `interaction_count` only."""
    drift_threshold: float = Field(0.3, ge=0, le=2)
    """1 − cosine of pending mean and current state that causes an update; read by `drift_threshold` only."""
    time_threshold_s: int = Field(86_400, ge=1)
    """Seconds since the last update that cause an update; read by `time_based` only."""
    decay_factor: float = Field(0.95, gt=0, le=1)
    """Weight of a slot relative to the next newer one."""


class FusionMethod(StrEnum):
    """A way to choose the weights of the scores."""

    WEIGHTED = "weighted"
    LEARNED = "learned"
    ADAPTIVE = "adaptive"


class FusionConfig(ConfigSection):
    """Settings of the fusion of the scores."""

    fusion_method: FusionMethod = FusionMethod.ADAPTIVE
    sasrec_weight: float = Field(0.5, ge=0)
    """Read by `weighted`; where the others start. A scorer of weight 0 is off, whatever the method."""
    retriever_weight: float = Field(0.5, ge=0)
    cooccurrence_weight: float = Field(0.5, ge=0)
    fusion_start: Literal["configured", "fitted"] = "configured"
    """`fitted`: joint fine-tuning begins with the weights that rank the validation targets best, instead of those
    given here; read by the methods that train them."""
    content_weight: float = Field(0.0, ge=0)
    """Of the scorer that compares texts in a closed form; 0 leaves it out."""
    content_age_decay: float = Field(0.7, gt=0, le=1)
    """Weight of an item of the history in that scorer relative to the next newer one."""
    new_item_share: float = Field(0.0, ge=0, le=10)
    """Places of the top 10 that items without training interactions get, relative to their share of the catalogue; 0
    leaves them where their scores put them, which is behind nearly all others."""


class SeenItemsConfig(ConfigSection):
    """Setting of what a model is for: what is new to a user, or also what the user has had."""

    seen_items: Literal["exclude", "include"] = "exclude"
    """`include` where repeats are the norm (plays, groceries): what a user has had competes in every ranking, and is
    recommended again."""

    @property
    def excludes_seen(self) -> bool:
        """Whether what a user has had is left out of rankings and recommendations."""
        return self.seen_items == "exclude"


class PairsConfig(SeenItemsConfig):
    """Settings of what counts as beside; the item factors come from it, too."""

    cooccurrence_window: FromData[int] = Field(10, ge=1)
    """Two items of a history are neighbours when at most this many places apart."""
    cooccurrence_gap_decay: float = Field(0.9, gt=0, le=1)
    """A pair one place further apart counts this much of the nearer one."""


class CooccurrenceConfig(PairsConfig):
    """Settings of the co-occurrence scorer: what counts as beside, and how much of it is kept."""

    cooccurrence_neighbors: FromData[int] = Field(256, ge=0)
    """Strongest neighbours kept per item; 0 leaves the scorer out."""
    cooccurrence_smoothing: float = Field(20.0, ge=0)
    """Added to both items' total counts in the cosine, so that rare items do not score on one pair."""
    cooccurrence_age_decay: float = Field(0.8, gt=0, le=1)
    """Weight of an item of the history relative to the next newer one."""


class Part(StrEnum):
    """A part of the model that scores by itself, or all of them."""

    SASREC = "sasrec"
    RETRIEVER = "retriever"
    FUSED = "fused"


class System(StrEnum):
    """The named systems; each is this model with some of its parts."""

    V2_MOE = "UR4RecV2MoE"
    V2 = "UR4RecV2"
    MOE_MEMORY = "UR4RecMoEMemory"


PRESETS: dict[System, dict[str, Any]] = {
    System.V2_MOE: {},
    System.V2: {
        "moe_num_proxies": 0,
        "moe_experts": (Expert.USER_PREFERENCE, Expert.ITEM_DESCRIPTION),
        "max_memory_size": 0,
        "cooccurrence_neighbors": 0,
        "content_weight": 0.0,
    },
    System.MOE_MEMORY: {
        "moe_experts": (Expert.ITEM_DESCRIPTION, Expert.ITEM_EMBEDDING),
        "cooccurrence_neighbors": 0,
        "content_weight": 0.0,
    },
}
"""Settings that a system fixes, whatever else the configuration says."""


class SystemConfig(ConfigSection):
    """Which of the named systems."""

    system: System = System.V2_MOE


class ModelConfig(SASRecConfig, RetrieverConfig, MemoryConfig, FusionConfig, CooccurrenceConfig, SystemConfig):
    """Everything that shapes the model."""

    def resolve(self) -> ModelConfig:
        """Returns the configuration with what its system fixes.

        Raises:
            ConfigError: A setting is left to the data.
        """
        if self.left_to_data:
            raise ConfigError(f"{', '.join(sorted(self.left_to_data))}: auto: a model needs values; see ur4rec.auto")
        return self.model_copy(update=PRESETS[self.system])

    @property
    def whole(self) -> Part:
        """The part whose score is the system's."""
        return Part.RETRIEVER if self.system is System.MOE_MEMORY else Part.FUSED
