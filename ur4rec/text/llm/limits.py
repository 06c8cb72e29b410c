"""How fast a batch may go: calls at once, requests and tokens a minute."""

from __future__ import annotations

from dataclasses import dataclass

from aiolimiter import AsyncLimiter

from ur4rec.text.llm.chat import ChatAnswer, ChatRequest
from ur4rec.text.llm.costs import estimate_prompt_tokens


@dataclass(frozen=True)
class BatchLimits:
    """Limits of a batch."""

    concurrency: int
    """Calls in flight at once."""
    requests_per_minute: int | None
    tokens_per_minute: int | None
    """Of prompts and answers together."""
    timeout_s: float
    """Of one call, its response included."""
    max_attempts: int
    """Calls for one request; one that is throttled counts a tenth."""
    breaker_failures: int
    """Failures in a row, without any success, after which the batch gives up."""


class RateLimiter:
    """Token buckets for requests and tokens a minute.

    The buckets hold one second's worth, so that no minute sees more than 1/60 above the limit, and the
    service's own limits for a second are kept too. A request's tokens are estimated from its length and
    `max_tokens`, corrected by how far the estimates of the requests answered so far were off.

    Args:
        requests_per_minute: Most requests, `None` for no limit.
        tokens_per_minute: Most tokens, `None` for no limit.
    """

    def __init__(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        self._requests = _create_bucket(requests_per_minute)
        self._tokens = _create_bucket(tokens_per_minute)
        self._estimated = self._charged = 0.0

    async def acquire(self, request: ChatRequest) -> None:
        """Waits until the request may be sent."""
        if self._requests is not None:
            await self._requests.acquire()
        if self._tokens is not None:
            await _drain(self._tokens, _estimate_tokens(request) * self._correction)

    def note_answer(self, request: ChatRequest, answer: ChatAnswer) -> None:
        """Learns what a request took in truth."""
        self._estimated += _estimate_tokens(request)
        self._charged += answer.tokens_in + answer.tokens_out

    @property
    def _correction(self) -> float:
        return self._charged / self._estimated if self._estimated else 1.0


def _create_bucket(per_minute: int | None) -> AsyncLimiter | None:
    if per_minute is None:
        return None
    per_second = per_minute / 60
    return AsyncLimiter(max_rate=max(1.0, per_second), time_period=max(1.0, 1 / per_second))


async def _drain(bucket: AsyncLimiter, amount: float) -> None:
    """Takes an amount that may be larger than the bucket."""
    while amount > 0:
        share = min(amount, bucket.max_rate)
        await bucket.acquire(share)
        amount -= share


def _estimate_tokens(request: ChatRequest) -> int:
    return estimate_prompt_tokens(request.messages) + request.max_tokens
