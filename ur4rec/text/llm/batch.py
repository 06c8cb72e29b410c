"""Many chats at once: bounded, paced, repeated where that helps, stopped where nothing does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext

from tenacity import AsyncRetrying, RetryCallState, wait_random_exponential

from ur4rec.text.llm.chat import (
    ChatAnswer,
    ChatClient,
    ChatError,
    ChatRequest,
    EmptyAnswerError,
    RefusedError,
    RejectedError,
    TransientError,
)
from ur4rec.text.llm.costs import Budget, Usage
from ur4rec.text.llm.pacing import BatchLimits, CircuitBreaker, RateLimiter, ThrottleGate
from ur4rec.text.llm.responses import timed_out

ALIVE_PER_SLOT = 3
"""Requests taken from the iterator and not yet settled, per call in flight: two may be waiting for a retry."""
THROTTLED_PER_ATTEMPT = 10
TOLD_EVERY_S = 30.0
BACK_OFF = wait_random_exponential(multiplier=0.25, max=30)


class Batch:
    """Asks for every request once, and hands each outcome over as it comes.

    A call holds one of `limits.concurrency` slots until its answer is handled, so a process that is killed
    loses no more answers than that. A request that waits for a retry leaves its slot to another. At most
    `ALIVE_PER_SLOT * limits.concurrency` requests are taken and not settled, whatever their number.

    Once something stops the batch, a cancellation among them, no call is begun any more; those in flight are
    paid for, so they are waited for and handled.

    Args:
        client: Makes the calls.
        requests: What to ask for; read as slots come free.
        handle: Stores the outcome of a request: its answer, or how it failed for good.
        limits: How fast to go and how long to try.
        usage: Counts are added here.
        budget: Holds a call back until it can be afforded.
    """

    def __init__(
        self,
        client: ChatClient,
        requests: Iterator[ChatRequest],
        handle: Callable[[ChatRequest, ChatAnswer | ChatError], Awaitable[None]],
        limits: BatchLimits,
        usage: Usage,
        budget: Budget | None = None,
    ) -> None:
        self._client, self._requests, self._handle = client, requests, handle
        self._limits, self._usage, self._budget = limits, usage, budget
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._rates = RateLimiter(limits.requests_per_minute, limits.tokens_per_minute)
        self._gate = ThrottleGate(limits.concurrency)
        self._breaker = CircuitBreaker(limits.breaker_failures, asyncio.get_running_loop().time)
        self._workers: set[asyncio.Task[None]] = set()
        self._undisturbed: set[asyncio.Task[None]] = set()
        self._stopped_by: BaseException | None = None
        self._told_next_s = 0.0

    async def run(self) -> None:
        """Runs to the end.

        Raises:
            FatalError: Wrong key, unknown model or no balance; at most `limits.concurrency` calls were made in vain.
            BudgetError: The next call cannot be afforded.
            CircuitOpenError: Nothing succeeded for `limits.breaker_failures` failures in a row.
            CancelledError: It was cancelled.
            Exception: Whatever `requests` or `handle` raised.
        """
        started = time.perf_counter()
        self._workers = {asyncio.create_task(self._work()) for _ in range(ALIVE_PER_SLOT * self._limits.concurrency)}
        try:
            await asyncio.wait(self._workers)
        except asyncio.CancelledError as cancelled:
            self._stop(cancelled)
            await asyncio.wait(self._workers)
        finally:
            self._usage.seconds += time.perf_counter() - started
        if self._stopped_by is not None:
            raise self._stopped_by

    async def _work(self) -> None:
        try:
            for chat in self._requests:
                await self._settle(chat)
                if self._stopped_by is not None:
                    return
        except Exception as error:
            self._stop(error)

    def _stop(self, error: BaseException) -> None:
        """Ends the batch: whoever is not in a call is cancelled."""
        if self._stopped_by is None:
            self._stopped_by = error
            for worker in self._workers - self._undisturbed:
                worker.cancel()

    async def _settle(self, chat: ChatRequest) -> None:
        """Asks until there is an answer or no point in asking again."""
        try:
            async for attempt in self._create_retrying():
                with attempt:
                    await self._attempt(chat)
        except (TransientError, RefusedError, RejectedError) as error:
            if isinstance(error, TransientError) and self._stopped_by is not None:
                return  # not the end of its attempts: the batch stopped
            await self._fail(chat, error)

    def _create_retrying(self) -> AsyncRetrying:
        return AsyncRetrying(
            retry=lambda state: isinstance(_error_of(state), TransientError) and self._stopped_by is None,
            stop=_Patience(self._limits.max_attempts),
            wait=_wait_s,
            before_sleep=lambda state: self._note_retry(_error_of(state)),
            reraise=True,
        )

    async def _attempt(self, chat: ChatRequest) -> None:
        async with self._slots:
            await self._rates.acquire(chat)
            await self._gate.enter()
            async with self._budget.hold(chat) if self._budget else nullcontext():
                with self._not_to_be_cancelled():
                    answer = await self._call(chat)
                    await self._handle(chat, answer)

    async def _fail(self, chat: ChatRequest, error: ChatError) -> None:
        self._usage.failures[error.reason] += 1
        if isinstance(error, EmptyAnswerError):
            error = RejectedError(f"{error}, every time it was asked", error.reason)
        with self._not_to_be_cancelled():
            await self._handle(chat, error)

    @contextmanager
    def _not_to_be_cancelled(self) -> Iterator[None]:
        worker = asyncio.current_task()
        assert worker is not None
        self._undisturbed.add(worker)
        try:
            yield
        finally:
            self._undisturbed.discard(worker)

    async def _call(self, chat: ChatRequest) -> ChatAnswer:
        began_s = asyncio.get_running_loop().time()
        self._usage.calls += 1
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                answer = await self._client.complete(chat)
        except TimeoutError:
            failure: ChatError = timed_out(self._limits.timeout_s)
        except ChatError as error:
            failure = error
        else:
            self._note_answer(chat, answer)
            return answer
        self._note_failure(failure, began_s)
        raise failure

    def _note_answer(self, chat: ChatRequest, answer: ChatAnswer) -> None:
        self._usage.note_answer(answer)
        self._rates.note_answer(chat, answer)
        self._gate.note_passed()
        self._breaker.note_answer()

    def _note_failure(self, error: ChatError, began_s: float) -> None:
        self._usage.note_failed_call(error)
        counts = True
        if isinstance(error, TransientError) and error.is_throttled:
            counts = self._gate.note_throttled(began_s, error.retry_after_s)
            self._tell_pause(error)
        self._breaker.note_failure(error, counts)

    def _tell_pause(self, error: TransientError) -> None:
        """Says that all calls wait, at most once in `TOLD_EVERY_S`: silence would look like a hang."""
        now = asyncio.get_running_loop().time()
        if self._gate.pause_s and now >= self._told_next_s:
            self._told_next_s = now + TOLD_EVERY_S
            print(
                f"all calls pause for {self._gate.pause_s:.0f} s, {self._usage.answered:,} answered: {error}",
                flush=True,
            )

    def _note_retry(self, error: BaseException | None) -> None:
        assert isinstance(error, TransientError)
        self._usage.retries[error.reason] += 1


class _Patience:
    """Stops a request after its attempts; one that was throttled costs a tenth, for it is not its fault."""

    def __init__(self, max_attempts: int) -> None:
        self._left = max_attempts * THROTTLED_PER_ATTEMPT

    def __call__(self, state: RetryCallState) -> bool:
        error = _error_of(state)
        throttled = isinstance(error, TransientError) and error.is_throttled
        self._left -= 1 if throttled else THROTTLED_PER_ATTEMPT
        return self._left <= 0


def _wait_s(state: RetryCallState) -> float:
    """What the service asked for, plus a random time that doubles with each attempt ("full jitter")."""
    error = _error_of(state)
    asked_s = error.retry_after_s if isinstance(error, TransientError) else None
    return (asked_s or 0.0) + BACK_OFF(state)


def _error_of(state: RetryCallState) -> BaseException | None:
    assert state.outcome is not None
    return state.outcome.exception()
