"""Scores in one thread what many calls ask at once: what waits while a batch is scored makes the next batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from ur4rec.recommender.requests import Answer, Query

MAX_WAITING = 1024
"""Queries; more than a second of work is refused rather than answered late."""
MAX_TOGETHER = 256

AnswerFunction = Callable[[Sequence[Query]], list[Answer]]
Call = tuple[Sequence[Query], asyncio.Future[list[Answer]]]


class BusyError(RuntimeError):
    """More queries wait than the server can answer in time."""


class Microbatches:
    """A queue in front of a recommender; belongs to one event loop.

    Args:
        answer: Answers queries in their order; called by one thread at a time.
        executor: The thread.
    """

    def __init__(self, answer: AnswerFunction, executor: ThreadPoolExecutor) -> None:
        self._answer, self._executor = answer, executor
        self._waiting: list[Call] = []
        self._worker: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether a call is refused now: too many queries wait, of callers who are still there."""
        return sum(len(queries) for queries, future in self._waiting if not future.done()) >= MAX_WAITING

    async def submit(self, queries: Sequence[Query]) -> list[Answer]:
        """Waits for the answers.

        Raises:
            BusyError: Too many wait already.
        """
        if self.is_full:
            raise BusyError
        future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._waiting.append((queries, future))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            calls = self._take()
            together = [query for queries, _ in calls for query in queries]
            try:
                answers = await asyncio.get_running_loop().run_in_executor(self._executor, self._answer, together)
            except Exception as error:  # a defect belongs to the calls, and the next batch goes on
                for _, future in calls:
                    if not future.done():
                        future.set_exception(error)
            else:
                _deliver(calls, answers)
        self._worker = None

    def _take(self) -> list[Call]:
        """The first call, and those behind it that fit into a batch."""
        self._waiting = [call for call in self._waiting if not call[1].done()]  # whose sender has left
        taken, size = 0, 0
        for queries, _ in self._waiting:
            if taken and size + len(queries) > MAX_TOGETHER:
                break
            taken, size = taken + 1, size + len(queries)
        calls, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return calls


def _deliver(calls: Sequence[Call], answers: list[Answer]) -> None:
    rest = iter(answers)
    for queries, future in calls:
        own = list(islice(rest, len(queries)))
        if not future.done():
            future.set_result(own)
