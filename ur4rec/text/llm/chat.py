"""What is asked of a language model, what comes back, and how it can fail."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """Everything that decides an answer, hence everything that its key in a cache holds."""

    provider: str
    """`dashscope` or `openai`."""
    model: str
    prompt_version: str
    """`<name>.v<N>+<first 12 hexadecimal digits of the sha256 of the prompt file>`."""
    messages: tuple[tuple[str, str], ...]
    """Pairs of role and content."""
    temperature: float
    max_tokens: int
    seed: int
    json_object: bool
    """Whether the service is asked to answer with a JSON object."""

    @property
    def key(self) -> str:
        """sha256 of all fields as canonical JSON, in hexadecimal."""
        return hashlib.sha256(_to_canonical_json({name: getattr(self, name) for name in _FIELDS}).encode()).hexdigest()


_FIELDS = tuple(field.name for field in fields(ChatRequest))
_to_canonical_json = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What the service answered, and the tokens it charges for."""

    text: str
    tokens_in: int
    tokens_out: int


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
    """

    def __init__(self, tokens_in: int, tokens_out: int) -> None:
        super().__init__("the service answered without any text", Reason.EMPTY)
        self.tokens_in = tokens_in
        self.tokens_out = tokens_out


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
