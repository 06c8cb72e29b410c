"""What is asked of a language model, what comes back, and how it can fail."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Protocol

Messages = tuple[tuple[str, str], ...]
"""Role and content of each message."""

THINKING_OFF: Mapping[str, Any] = {"enable_thinking": False, "chat_template_kwargs": {"enable_thinking": False}}
"""Fields that keep a model from thinking before it answers: DashScope's own, and that of vLLM and SGLang."""
WITHOUT_EFFECT = {
    "metadata", "priority", "prompt_cache_key", "request_id", "safety_identifier", "service_tier", "store", "user"
}  # fmt: skip
"""Fields that say who asks and how fast it goes, and change no answer."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """Everything that decides an answer, hence everything that its key in a cache holds."""

    provider: str
    """`dashscope` or `openai`."""
    model: str
    prompt_version: str
    """`<name>.v<N>+<first 12 hexadecimal digits of the sha256 of the prompt file>`."""
    messages: Messages
    temperature: float
    max_tokens: int
    seed: int
    json_object: bool
    """Whether the service is asked to answer with a JSON object."""
    request_fields: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What the body of the request holds besides."""

    key: str = field(init=False, compare=False)
    """sha256 of all that decides the answer as canonical JSON, in hexadecimal."""

    def __post_init__(self) -> None:
        asked = {name: getattr(self, name) for name in _FIELDS} | self._deciding_fields()
        object.__setattr__(self, "key", hashlib.sha256(_to_canonical_json(asked).encode()).hexdigest())

    def _deciding_fields(self) -> dict[str, Any]:
        """Nothing where no field changes what would be answered without any, so that the keys of old stay."""
        deciding = {
            name: value
            for name, value in self.request_fields.items()
            if name not in WITHOUT_EFFECT and THINKING_OFF.get(name, ...) != value
        }
        return {"request_fields": deciding} if deciding else {}


_FIELDS = tuple(each.name for each in fields(ChatRequest) if each.name not in ("request_fields", "key"))
_to_canonical_json = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What the service answered, and the tokens it charges for."""

    text: str
    tokens_in: int
    tokens_out: int
    estimated: bool = False
    """Whether the service told no tokens, so that they are counted by a rule of thumb."""


class Reason(StrEnum):
    """Why a call failed, in one word that can be counted."""

    THROTTLED = "throttled"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    MALFORMED = "malformed"
    EMPTY = "empty"
    CONTENT_FILTER = "content_filter"
    REJECTED = "rejected"
    API_KEY = "api_key"
    BALANCE = "balance"
    NOT_FOUND = "not_found"
    CIRCUIT_OPEN = "circuit_open"


class ChatError(Exception):
    """A call that brought no answer. Its text is one line and never holds the API key.

    Args:
        message: What happened and what to do.
        reason: The same in one word.
    """

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason


class TransientError(ChatError):
    """The same call may well succeed a little later.

    Args:
        message: What happened.
        reason: The same in one word.
        retry_after_s: How long the service asked to wait, if it did.
        is_throttled: Whether the service turned the call away because there were too many.
    """

    def __init__(
        self, message: str, reason: Reason, retry_after_s: float | None = None, is_throttled: bool = False
    ) -> None:
        super().__init__(message, reason)
        self.retry_after_s = retry_after_s
        self.is_throttled = is_throttled


class EmptyAnswerError(TransientError):
    """The service answered nothing, and charges for it.

    Args:
        tokens_in: Tokens of the prompt.
        tokens_out: Tokens of the answer.
        estimated: Whether the service did not tell them.
    """

    def __init__(self, tokens_in: int, tokens_out: int, estimated: bool = False) -> None:
        super().__init__("the service answered without any text", Reason.EMPTY)
        self.tokens_in = tokens_in
        self.tokens_out = tokens_out
        self.estimated = estimated


class RefusedError(ChatError):
    """The content filter of the service turned this prompt or its answer away, and will do so again."""


class RejectedError(ChatError):
    """Another permanent failure of this one prompt."""


class FatalError(ChatError):
    """No call can succeed: wrong key, unknown model, no balance."""


class CircuitOpenError(ChatError):
    """Nothing succeeded for so long that the batch gave up."""


class ChatClient(Protocol):
    """A service that answers chats."""

    async def complete(self, request: ChatRequest) -> ChatAnswer:
        """Makes one HTTP exchange, without any retry.

        Raises:
            ChatError: One of its subclasses, by what can be done about it.
        """

    async def aclose(self) -> None:
        """Closes the connections."""
