import pytest
from toy_chats import now, run_skipping

from ur4rec.text.llm.throttling import ThrottleGate


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
