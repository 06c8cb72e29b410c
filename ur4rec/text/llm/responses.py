"""What the clients share: connections, and what a response comes to; no error tells anything of the key."""

from __future__ import annotations

import re
import ssl
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import certifi

from ur4rec.text.llm.chat import (
    ChatAnswer,
    ChatError,
    ChatRequest,
    EmptyAnswerError,
    FatalError,
    Messages,
    Reason,
    RefusedError,
    RejectedError,
    TransientError,
)
from ur4rec.text.llm.costs import estimate_prompt_tokens, estimate_tokens

SHOWN_CHARACTERS = 200
TEXT_FIELDS = ("content", "reasoning_content", "reasoning")
"""Where a message may hold the answer; what comes first counts."""
REFUSED_CODES = {"datainspectionfailed", "contentfilter", "contentpolicyviolation"}
BALANCE_CODES = {"arrearage", "insufficientbalance"}
KEY_CODES = {"invalidapikey"}
MODEL_CODES = {"modelnotfound"}
TRANSIENT_STATUSES = {408, 409, 425}


@dataclass(frozen=True, slots=True)
class FailedResponse:
    """An HTTP response that holds no answer."""

    status: int
    code: str
    """The service's own name of the failure; empty where it has none."""
    message: str
    retry_after: str | None
    """The header of that name."""


class PooledClient(ABC):
    """A client on a connection pool of its own, which opens with the first call.

    Args:
        base_url: Where the service is.
        api_key: Key of the account.
        timeout_s: Longest duration of a call, its response included.
        middlewares: What wraps every exchange.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        timeout_s: float,
        middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = (),
    ) -> None:
        self._base_url = base_url
        self._host = urlsplit(base_url).netloc or base_url
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._middlewares = middlewares
        self._session: aiohttp.ClientSession | None = None

    async def complete(self, request: ChatRequest) -> ChatAnswer:
        """Makes one exchange; see `ChatClient`."""
        outcome = await self._exchange(request)
        if isinstance(outcome, ChatError):
            raise outcome  # out of any except block: no library's exception, which knows the headers, is chained
        return outcome

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    @abstractmethod
    async def _exchange(self, request: ChatRequest) -> ChatAnswer | ChatError:
        """One call over the pool; whatever goes wrong is returned."""

    def _pool(self) -> aiohttp.ClientSession:
        """The pool; needs the running loop when it opens."""
        self._session = self._session or _open_session(self._middlewares)
        return self._session


def explain(response: FailedResponse, secret: str) -> ChatError:
    """The error that a response stands for.

    The codes are those of Alibaba Cloud Model Studio, "Error messages", and their counterparts on the
    OpenAI-compatible route, which spells them with underscores.

    Args:
        response: What the service responded.
        secret: The API key, which a service may echo; it is blanked.
    """
    status = response.status
    code = response.code.replace("_", "").lower()
    told = f"HTTP {status} {response.code}".rstrip() + f": {to_one_line(response.message, secret)}"
    retry_after_s = parse_retry_after(response.retry_after)
    if status == 429 or code.startswith("throttling") or (status == 503 and retry_after_s is not None):
        return TransientError(f"throttled ({told})", Reason.THROTTLED, retry_after_s, is_throttled=True)
    if status in TRANSIENT_STATUSES or status >= 500:
        return TransientError(f"the service failed ({told})", Reason.SERVER_ERROR, retry_after_s)
    if code in REFUSED_CODES:
        return RefusedError(f"refused by the content filter ({told})", Reason.CONTENT_FILTER)
    return _explain_fatal(status, code, told, bool(secret)) or RejectedError(f"rejected ({told})", Reason.REJECTED)


def _explain_fatal(status: int, code: str, told: str, has_key: bool) -> FatalError | None:
    if status == 402 or code in BALANCE_CODES:
        return FatalError(f"the account has no balance ({told}); top it up", Reason.BALANCE)
    if status in (401, 403) or code in KEY_CODES:
        hint = "check the API key, and that it belongs to the region of the base URL" if has_key else "no key was sent"
        return FatalError(f"access was denied ({told}); {hint}", Reason.API_KEY)
    if status < 400 or status == 404 or code in MODEL_CODES or "model not exist" in told.lower():
        return FatalError(f"not found ({told}); check the model's name and the base URL", Reason.NOT_FOUND)
    return None


def read_error_body(status: int, body: Any, text: str, headers: Mapping[str, str]) -> FailedResponse:
    """A failed response from its body.

    Args:
        status: HTTP status.
        body: The parsed JSON of the body, anything else where it is not JSON.
        text: What to show where the body holds no message.
        headers: Header names in any case → values.
    """
    inner = body.get("error", body) if isinstance(body, dict) else None
    fields = inner if isinstance(inner, dict) else {}
    return FailedResponse(
        status=status,
        code=str(fields.get("code") or fields.get("type") or ""),
        message=str(fields.get("message") or text),
        retry_after={name.lower(): value for name, value in headers.items()}.get("retry-after"),
    )


def read_choice(choices: Any, tokens_in: Any, tokens_out: Any, messages: Messages = ()) -> ChatAnswer | ChatError:
    """The answer in the first of the choices, whose shape the two routes share.

    A service that takes everything for thoughts leaves the content empty: then the thoughts are the answer.

    Args:
        choices: List of `{"finish_reason": …, "message": {"content": …}}`.
        tokens_in: Tokens of the prompt; anything but a positive number: the service does not tell.
        tokens_out: Tokens of the answer; the same.
        messages: What was asked, to estimate from.
    """
    try:
        choice = choices[0]
        message, finish_reason = choice["message"], str(choice.get("finish_reason", ""))
        text = next(filter(str.strip, (_read_text(message.get(name)) for name in TEXT_FIELDS)), "")
    except (LookupError, TypeError, ValueError, AttributeError):
        return malformed("it has no choices or message")
    if finish_reason == "content_filter":
        return RefusedError("refused by the content filter (finish_reason content_filter)", Reason.CONTENT_FILTER)
    counts = _read_count(tokens_in), _read_count(tokens_out)
    estimated = not counts[0]
    if estimated:
        counts = estimate_prompt_tokens(messages), estimate_tokens(text)
    return ChatAnswer(text, *counts, estimated) if text else EmptyAnswerError(*counts, estimated)


def _read_text(content: Any) -> str:
    """Text, or the texts of a list of parts."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return content if isinstance(content, str) else ""


def _read_count(tokens: Any) -> int:
    """A number of tokens; 0 where there is none."""
    try:
        return max(0, int(tokens))
    except (TypeError, ValueError, OverflowError):
        return 0


def malformed(detail: str) -> TransientError:
    """The error of a response that is no answer although its status says so."""
    return TransientError(f"the response cannot be read: {detail}; is the base URL right?", Reason.MALFORMED)


def timed_out(timeout_s: float) -> TransientError:
    """The error of a call that took too long."""
    return TransientError(f"no complete answer within {timeout_s:g} s", Reason.TIMEOUT)


def disconnected(kind: str, host: str) -> TransientError:
    """The error of a connection that could not be made or was lost.

    Args:
        kind: Name of the library's exception; its text is not told.
        host: Where the service is, its port included.
    """
    told = f"connection to {host} failed ({kind}); is the service up, and the base URL right?"
    return TransientError(told, Reason.CONNECTION)


def parse_retry_after(value: str | None) -> float | None:
    """Seconds to wait by a `Retry-After` header: a number of seconds or a date (RFC 9110, section 10.2.3)."""
    if value is None:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", value.strip()):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def to_one_line(text: str, secret: str) -> str:
    """A text without the secret, markup and line breaks, and not too long."""
    without_secret = text.replace(secret, "***") if secret else text
    line = " ".join(re.sub(r"<[^>]*>", " ", without_secret).split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…"


def _open_session(middlewares: tuple[aiohttp.ClientMiddlewareType, ...]) -> aiohttp.ClientSession:
    """A pool without a limit of its own, for the batch bounds the number of calls.

    Trusts the system's certificates and certifi's, and reads the proxy from the environment.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    connector = aiohttp.TCPConnector(limit=0, ssl=context)
    return aiohttp.ClientSession(connector=connector, middlewares=middlewares, trust_env=True)
