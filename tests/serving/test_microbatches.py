import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pytest

from ur4rec.recommender.requests import Answer, Query
from ur4rec.serving import microbatches as module
from ur4rec.serving.microbatches import BusyError, Microbatches


def query(user: int) -> Query:
    return Query("user", user, np.empty(0, np.int64), None, 1, True)


class Gate:
    """Answers with the user's number, once it is open; notes how many it answered together."""

    def __init__(self) -> None:
        self.open, self.begun = threading.Event(), threading.Event()
        self.sizes: list[int] = []

    def __call__(self, queries: Sequence[Query]) -> list[Answer]:
        self.sizes.append(len(queries))
        self.begun.set()
        assert self.open.wait(60)
        if any(query.user == 13 for query in queries):
            raise RuntimeError("defect")
        return [Answer(query, np.array([query.user]), np.zeros(1)) for query in queries]


@pytest.fixture
def gate() -> Gate:
    return Gate()


T = TypeVar("T")


def run(gate: Gate, scenario: Callable[[Microbatches], Awaitable[T]]) -> T:
    async def main() -> T:
        with ThreadPoolExecutor(1) as executor:
            return await scenario(Microbatches(gate, executor))

    return asyncio.run(main())


async def submit_behind_a_batch(
    gate: Gate, queue: Microbatches, calls: list[list[Query]]
) -> list[asyncio.Task[list[Answer]]]:
    """The first call is being scored while the others come."""
    first = asyncio.create_task(queue.submit(calls[0]))
    await asyncio.to_thread(gate.begun.wait, 60)
    others = [asyncio.create_task(queue.submit(call)) for call in calls[1:]]
    await asyncio.sleep(0)
    return [first, *others]


def users_of(answers: list[Answer]) -> list[int]:
    return [int(answer.items[0]) for answer in answers]


def test_what_waits_is_scored_together_and_everybody_gets_their_own(gate: Gate) -> None:
    async def scenario(queue: Microbatches) -> list[list[int]]:
        tasks = await submit_behind_a_batch(gate, queue, [[query(1)], [query(2), query(3)], [query(4)]])
        gate.open.set()
        return [users_of(await task) for task in tasks]

    assert run(gate, scenario) == [[1], [2, 3], [4]]
    assert gate.sizes == [1, 3]


def test_a_batch_is_bounded(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TOGETHER", 2)

    async def scenario(queue: Microbatches) -> list[list[int]]:
        tasks = await submit_behind_a_batch(gate, queue, [[query(1)], [query(2)], [query(3), query(4)], [query(5)]])
        gate.open.set()
        return [users_of(await task) for task in tasks]

    assert run(gate, scenario) == [[1], [2], [3, 4], [5]]
    assert gate.sizes == [1, 1, 2, 1]


def test_too_many_are_refused_at_once(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)

    async def scenario(queue: Microbatches) -> list[list[int]]:
        tasks = await submit_behind_a_batch(gate, queue, [[query(1)], [query(2), query(3)]])
        assert queue.is_full
        with pytest.raises(BusyError):
            await queue.submit([query(4)])
        gate.open.set()
        found = [users_of(await task) for task in tasks]
        assert not queue.is_full
        return found

    assert run(gate, scenario) == [[1], [2, 3]]


def test_a_defect_reaches_its_callers_and_the_queue_goes_on(gate: Gate) -> None:
    gate.open.set()

    async def scenario(queue: Microbatches) -> list[int]:
        with pytest.raises(RuntimeError, match="defect"):
            await queue.submit([query(13)])
        return users_of(await queue.submit([query(2)]))

    assert run(gate, scenario) == [2]


def test_a_caller_who_has_left_costs_nothing(gate: Gate) -> None:
    async def scenario(queue: Microbatches) -> list[int]:
        first, left, last = await submit_behind_a_batch(gate, queue, [[query(1)], [query(2)], [query(3)]])
        left.cancel()
        await asyncio.sleep(0)
        gate.open.set()
        return users_of(await first) + users_of(await last)

    assert run(gate, scenario) == [1, 3]
    assert gate.sizes == [1, 1]
