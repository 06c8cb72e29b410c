import asyncio

import pytest
from toy_chats import make_request, now, run_skipping

from ur4rec.text.llm.chat import ChatAnswer
from ur4rec.text.llm.costs import estimate_prompt_tokens
from ur4rec.text.llm.pacing import RateLimiter, ThrottleGate


@pytest.mark.parametrize(("per_minute", "calls", "seconds"), [(600, 610, 60.0), (6, 7, 60.0)])
def test_requests_are_spread_over_the_minute(per_minute: int, calls: int, seconds: float) -> None:
    async def run() -> None:
        limiter = RateLimiter(per_minute, None)
        await asyncio.gather(*(limiter.acquire(make_request()) for _ in range(calls)))

    assert run_skipping(run()) == pytest.approx(seconds, rel=0.01)


def test_tokens_are_estimated_and_the_estimates_corrected() -> None:
    """A prompt of about 79 tokens, and 100 for the answer; the bucket holds 50 and fills 50 a second."""
    request = make_request("x" * 385)

    async def run() -> None:
        limiter = RateLimiter(None, 3000)
        assert estimate_prompt_tokens(request.messages) == 79
        await limiter.acquire(request)  # 179, of which 50 at once
        assert now() == pytest.approx(2.58, abs=0.01)
        limiter.note_answer(request, ChatAnswer("", 30, 20))
        began = now()
        await limiter.acquire(request)  # 50 in truth; the bucket is still empty
        assert now() - began == pytest.approx(1.0, abs=0.01)

    run_skipping(run())


def test_without_limits_nothing_waits() -> None:
    async def run() -> None:
        for _ in range(1000):
            await RateLimiter(None, None).acquire(make_request())

    assert run_skipping(run()) == pytest.approx(0.0, abs=0.01)


def test_few_throttled_calls_close_nothing() -> None:
    async def run() -> None:
        gate = ThrottleGate(concurrency=10)
        for _ in range(6):
            gate.note_passed()
        assert not any(gate.note_throttled(now(), 30.0) for _ in range(4))
        await gate.enter()

    assert run_skipping(run()) == pytest.approx(0.0, abs=0.01)


def test_pauses_double_up_to_a_minute_and_start_over() -> None:
    async def run() -> None:
        gate = ThrottleGate(concurrency=1)
        assert not any(gate.note_throttled(now(), None) for _ in range(4))  # a service is trusted at first
        pauses = []
        for _ in range(8):
            began = now()
            assert gate.note_throttled(began, None)
            await gate.enter()
            pauses.append(now() - began)
        assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60], abs=0.01)
        gate.note_passed()
        assert not gate.note_throttled(now(), None)  # one of two
        assert gate.note_throttled(now(), None)  # two of three
        began = now()
        await gate.enter()
        assert now() - began == pytest.approx(1.0, abs=0.01)

    run_skipping(run())


def test_retry_after_is_the_least_pause_and_late_news_extend_it() -> None:
    async def run() -> None:
        gate = ThrottleGate(concurrency=1)
        assert not any(gate.note_throttled(0.0, 5.0) for _ in range(4))
        assert gate.note_throttled(0.0, 5.0)
        assert not gate.note_throttled(0.0, None)
        assert not gate.note_throttled(0.0, 7.0)
        await gate.enter()
        assert now() == pytest.approx(7.0, abs=0.01)

    run_skipping(run())
