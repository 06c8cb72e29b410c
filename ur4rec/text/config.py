"""Configuration of the two text tasks, apart from them so that reading it loads no encoder."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from ur4rec.config_section import ConfigSection
from ur4rec.text.request_fields import refuse_fields, restore_integers


class GridConfig(ConfigSection):
    """What writes the texts, and how often a user gets a new one."""

    text_provider: Literal["template", "dashscope", "openai"] = "template"
    """`template` is offline; `openai` is any service that speaks the route `/chat/completions`, vLLM for one."""
    snapshot_base: int = Field(10, ge=1)
    """Interactions behind a user's first text; the following ones come at 2, 4, 8, … times as many."""


class ShardsConfig(GridConfig):
    """How many tasks of the pipeline share the texts."""

    texts_per_shard: int = Field(20_000, ge=1)
    """Texts that one task of the pipeline asks for; more are asked for by several at once."""


class WritingConfig(GridConfig):
    """What writes the texts, how often a user gets a new one, and how a language model is asked.

    Keys of the two language model providers come from the environment: `DASHSCOPE_API_KEY`, `OPENAI_API_KEY`.
    """

    text_model: str = Field("qwen-flash", min_length=1)
    text_base_url: str = ""
    """Address of the service, without credentials; empty: DashScope's own."""
    text_user_prompt: str = Field("user_preferences.v1", min_length=1)
    """Name of a shipped prompt with its version, or the path of a YAML file."""
    text_item_prompt: str = Field("item_description.v1", min_length=1)
    text_temperature: float = Field(0.0, ge=0, le=2)
    text_request_fields: dict[str, JsonValue] = Field({})
    """Further fields of every request, such as `{chat_template_kwargs: {enable_thinking: false}}`; no secrets."""
    text_cache: str = ""
    """Where answers are kept: a folder or `gs://bucket/prefix`; empty: the user's cache folder."""
    text_concurrency: int = Field(32, ge=1, le=1024)
    """Calls in flight at once."""
    text_requests_per_minute: int | None = Field(None, ge=1)
    text_tokens_per_minute: int | None = Field(None, ge=1)
    text_timeout_s: float = Field(60.0, gt=0)
    """Of one call."""
    text_max_attempts: int = Field(6, ge=1)
    """Calls for one text before it counts as failed."""
    text_max_failed_share: float = Field(0.02, ge=0, le=1)
    """Share of texts that may fall back to `template`; the task fails above it."""

    text_budget: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Most that a run may spend, in the currency of the prices; what earlier runs paid for does not count."""
    text_prices: str = ""
    """YAML table of prices; empty: the shipped one."""

    @field_validator("text_request_fields")
    @classmethod
    def _restore_integers(cls, fields: dict[str, JsonValue]) -> dict[str, JsonValue]:
        return {name: restore_integers(value) for name, value in fields.items()}

    @model_validator(mode="after")
    def _may_be_asked(self) -> WritingConfig:
        refuse_fields(self.text_request_fields)
        return self

    @model_validator(mode="after")
    def _has_an_address(self) -> WritingConfig:
        if not re.fullmatch(r"(https?://[^@\s]+)?", self.text_base_url):
            raise ValueError("text_base_url: expected http(s)://host/path, without user and password")
        if self.text_provider == "openai" and not self.text_base_url:
            raise ValueError("text_base_url: text_provider openai needs an address, such as http://vllm:8000/v1")
        return self

    def read(self) -> ConfigSection:
        """The fields that are read: without a language model, the grid alone."""
        return self.narrow(GridConfig if self.text_provider == "template" else WritingConfig)


class TextConfig(WritingConfig, ShardsConfig):
    """Everything about texts."""


class EncodeConfig(ConfigSection):
    """How texts become vectors."""

    text_model_name: str = Field("all-MiniLM-L6-v2", min_length=1)
    """Packaged model, folder of a sentence-transformers model, or name on the Hugging Face hub."""
    text_batch_size: int = Field(128, ge=1)
    max_sentences: int = Field(6, ge=1)
    """Sentences kept of one user text, from its beginning."""
