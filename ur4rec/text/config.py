"""The settings of the two text tasks, kept apart from the tasks so that reading them loads no encoder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from ur4rec.config_section import ConfigSection, FromData
from ur4rec.text.provider_table import PROVIDERS, SERVICES

OWN_FIELDS = {
    "api_key": "the environment",
    "base_address": "text_base_url",
    "headers": "nothing, for they may hold secrets",
    "history": "the prompt file",
    "input": "the prompt file",
    "max_tokens": "max_tokens of the prompt file",
    "messages": "the prompt file",
    "model": "text_model",
    "n": "nothing, one answer is read",
    "prompt": "the prompt file",
    "request_timeout": "text_timeout_s",
    "response_format": "the form of the answers",
    "result_format": "the form of the answers",
    "seed": "the run",
    "session": "the run",
    "stream": "nothing, answers are read as a whole",
    "temperature": "text_temperature",
}
"""A request has these fields already or cannot have them; each comes with what decides it."""
_SECRET_NAME = re.compile(r"api[-_]?key|secret|passw|authorization|credential|(^|_)token$", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"^(sk-|Bearer\s)")

if TYPE_CHECKING:
    ProviderName = str
else:
    ProviderName = Literal[tuple(PROVIDERS)]


class GridConfig(ConfigSection):
    """These settings say what writes the texts, and how often a user gets a new one."""

    text_provider: ProviderName = "template"
    """`template` works offline; `openai` is any service with the route `/chat/completions`, vLLM for one."""
    snapshot_base: FromData[int] = Field(10, ge=1)
    """A user's first text is written from this many interactions, the next from 2, 4, 8, … times as many."""

    @property
    def asks_a_model(self) -> bool:
        """Whether a language model writes the texts."""
        return self.text_provider in SERVICES


class ShardsConfig(GridConfig):
    """These settings say how many tasks of the pipeline share the texts."""

    texts_per_shard: int = Field(20_000, ge=1)
    """One task of the pipeline asks for at most this many texts; more are asked for by several tasks at once."""


class WritingConfig(GridConfig):
    """These settings say what writes the texts, how often a user gets a new one, and how a language model is asked.

    The key of a language model comes from the environment, such as `DASHSCOPE_API_KEY`.
    """

    text_model: str = Field("qwen-flash", min_length=1)
    text_base_url: str = ""
    """The address of the service, without credentials; if empty, DashScope's own."""
    text_user_prompt: str = Field("user_preferences.v1", min_length=1)
    """The name of a shipped prompt with its version, or the path of a YAML file."""
    text_item_prompt: str = Field("item_description.v1", min_length=1)
    text_temperature: float = Field(0.0, ge=0, le=2)
    text_request_fields: dict[str, JsonValue] = Field({})
    """Every request gets these fields too, such as `{chat_template_kwargs: {enable_thinking: false}}`; no secrets."""
    text_cache: str = ""
    """Answers are kept here: a folder, or `gs://` or `s3://bucket/prefix`; if empty, in the user's cache folder."""
    text_concurrency: int = Field(32, ge=1, le=1024)
    """At most this many calls are in flight at once."""
    text_requests_per_minute: int | None = Field(None, ge=1)
    text_tokens_per_minute: int | None = Field(None, ge=1)
    text_timeout_s: float = Field(60.0, gt=0)
    """One call may take this long."""
    text_max_attempts: int = Field(6, ge=1)
    """A text counts as failed after this many calls."""
    text_max_failed_share: float = Field(0.02, ge=0, le=1)
    """At most this share of the texts may fall back to `template`; the task fails above it."""

    text_budget: float | None = Field(None, ge=0, allow_inf_nan=False)
    """A run may spend this much, in the currency of the prices; what earlier runs paid for does not count."""
    text_prices: str = ""
    """The path of a YAML table of prices; if empty, the shipped one."""

    @field_validator("text_request_fields")
    @classmethod
    def _hand_integers_on(cls, fields: dict[str, JsonValue]) -> dict[str, JsonValue]:
        return {name: _restore_integers(value) for name, value in fields.items()}

    @model_validator(mode="after")
    def _can_be_asked(self) -> WritingConfig:
        _refuse_fields(self.text_request_fields)
        if not re.fullmatch(r"(https?://[^@\s]+)?", self.text_base_url):
            raise ValueError("text_base_url: expected http(s)://host/path, without user and password")
        example = SERVICES[self.text_provider].example_address if self.asks_a_model else ""
        if example and not self.text_base_url:
            raise ValueError(f"text_base_url: text_provider {self.text_provider} needs an address, such as {example}")
        return self

    def read(self) -> ConfigSection:
        """Return the settings that are read: without a language model, the grid alone."""
        return self.narrow(WritingConfig if self.asks_a_model else GridConfig)


class TextConfig(WritingConfig, ShardsConfig):
    """These are all settings about writing texts."""


class EncodeConfig(ConfigSection):
    """These settings say how texts become vectors."""

    text_model_name: str = Field("all-MiniLM-L6-v2", min_length=1)
    """The packaged model, the folder of a sentence-transformers model, or a name on the Hugging Face hub."""
    text_batch_size: int = Field(128, ge=1)
    max_sentences: int = Field(6, ge=1)
    """Only this many sentences of a user text are kept, from its beginning."""
    unreadable_texts: Literal["error", "accept"] = "error"
    """Texts stop the run if over 20 % of their words are unknown to the model or it cannot tell them apart."""


def _refuse_fields(fields: dict[str, Any]) -> None:
    """Refuse fields that something else decides, and those that look like a secret."""
    for name in fields:
        if name in OWN_FIELDS:
            raise ValueError(f"text_request_fields: {name} is decided by {OWN_FIELDS[name]}; leave it out here")
    for name, value in _walk(fields):
        if _SECRET_NAME.search(name) or (isinstance(value, str) and _SECRET_VALUE.search(value)):
            raise ValueError(
                f"text_request_fields: {name} looks like a secret, and settings are written to manifests; leave it out"
            )


def _restore_integers(value: Any) -> Any:
    """Return whole numbers as integers: a pipeline hands 20 on as 20.0, which a service need not take.

    >>> _restore_integers({"top_k": 20.0, "stop": [1.5, "x"]})
    {'top_k': 20, 'stop': [1.5, 'x']}
    """
    if isinstance(value, dict):
        return {key: _restore_integers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_restore_integers(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _walk(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value with the nearest name around it."""
    yield name, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner, name)
