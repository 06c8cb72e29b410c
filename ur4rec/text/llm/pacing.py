"""How fast a batch may go, when all of it pauses, and when it gives up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from aiolimiter import AsyncLimiter

from ur4rec.text.llm.chat import (
    ChatAnswer,
    ChatError,
    ChatRequest,
    CircuitOpenError,
    Reason,
    RefusedError,
    TransientError,
)
from ur4rec.text.llm.costs import estimate_prompt_tokens

FEWEST_REMEMBERED = 8
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
LONGEST_RETRY_AFTER_S = 600.0
LONGEST_STALL_S = 900.0
"""Without any answer, however the failures are counted: a quota that is spent looks like throttling."""


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


class ThrottleGate:
    """Lets calls through, except while the service throttles most of them.

    A throttled call delays its own request only, as long as most of the last calls went through: the
    service serves, and others need not wait. Once more than half of them are throttled, all pause, for as
    long as `Retry-After` says or, without it, for 1, 2, 4, … up to 60 s, until a call goes through again.

    Args:
        concurrency: Calls in flight at once; the last so many outcomes are looked at.
    """

    def __init__(self, concurrency: int) -> None:
        trusted = [False] * (FEWEST_REMEMBERED // 2)  # or the first call could pause all others
        self._throttled: deque[bool] = deque(trusted, maxlen=max(FEWEST_REMEMBERED, concurrency))
        self._closed_until = 0.0
        self._pauses = 0

    @property
    def pause_s(self) -> float:
        """Seconds until calls go through again."""
        return max(0.0, self._closed_until - _now())

    async def enter(self) -> None:
        """Waits while the gate is closed."""
        while (left := self.pause_s) > 0:
            await asyncio.sleep(left)

    def note_passed(self) -> None:
        """A call was not throttled."""
        self._throttled.append(False)
        self._pauses = 0

    def note_throttled(self, began_s: float, retry_after_s: float | None) -> bool:
        """A call was throttled.

        Args:
            began_s: When the call began, on the clock of the running loop.
            retry_after_s: How long the service asked to wait.

        Returns:
            Whether a new pause begins. A call from before the end of the last pause begins none.
        """
        if began_s < self._closed_until:
            self._close_for(retry_after_s or 0.0)
            return False
        self._throttled.append(True)
        if 2 * sum(self._throttled) <= len(self._throttled):
            return False
        self._close_for(max(retry_after_s or 0.0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._pauses)))
        self._pauses += 1
        self._throttled.clear()
        return True

    def _close_for(self, seconds: float) -> None:
        self._closed_until = max(self._closed_until, _now() + seconds)


class CircuitBreaker:
    """Counts failures in a row.

    A refusal by the content filter counts neither way: the service works, and a run that repeats only
    what was refused before must be able to finish.

    Args:
        limit: Failures in a row, without any success, that open the circuit.
        clock: Seconds, from any zero.
    """

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit, self._clock = limit, clock
        self._failures = 0
        self._last_answer_s = clock()

    def note_answer(self) -> None:
        """A call succeeded."""
        self._failures, self._last_answer_s = 0, self._clock()

    def note_failure(self, error: ChatError, counts: bool = True) -> None:
        """A call failed.

        Args:
            error: How.
            counts: False for a call that says no more than those before it: throttled in a pause, say.

        Raises:
            CircuitOpenError: The batch should give up.
        """
        if isinstance(error, TransientError) and (error.retry_after_s or 0.0) > LONGEST_RETRY_AFTER_S:
            raise CircuitOpenError(
                f"the service asks to wait {error.retry_after_s:.0f} s, more than the {LONGEST_RETRY_AFTER_S:.0f} s "
                f"that a run waits: {error}; run again later, what is answered is kept",
                Reason.CIRCUIT_OPEN,
            )
        stalled_s = self._clock() - self._last_answer_s
        if isinstance(error, TransientError) and stalled_s > LONGEST_STALL_S:
            raise CircuitOpenError(
                f"no answer for {stalled_s:.0f} s; the last failure: {error}; check the account's quota and balance",
                Reason.CIRCUIT_OPEN,
            )
        if counts and not isinstance(error, RefusedError):
            self._failures += 1
        if self._failures >= self._limit:
            raise CircuitOpenError(
                f"{self._failures} failures in a row without a success; the last: {error}", Reason.CIRCUIT_OPEN
            )


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


def _now() -> float:
    return asyncio.get_running_loop().time()
