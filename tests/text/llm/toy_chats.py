"""A clock that skips waiting, and a client that answers by a rule."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from ur4rec.text.llm.chat import ChatAnswer, ChatRequest
from ur4rec.text.llm.pacing import BatchLimits


class _SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer, so that a minute's pause takes no time."""

    def __init__(self) -> None:
        self.skipped_s = 0.0
        super().__init__(_SkippingSelector(self))

    def time(self) -> float:
        return self.skipped_s


class _SkippingSelector(selectors.SelectSelector):
    def __init__(self, loop: _SkippingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "waits for something that no timer brings"
        self._loop.skipped_s += max(
            timeout, 1e-7
        )  # a clock that stood still would never reach a timer lost in rounding
        return super().select(0)


def run_skipping(main: Coroutine[Any, Any, object]) -> float:
    """Runs to the end and returns how many seconds of waiting were skipped."""
    with asyncio.Runner(loop_factory=_SkippingLoop) as runner:
        runner.run(main)
        loop = runner.get_loop()
        assert isinstance(loop, _SkippingLoop)
        return loop.skipped_s


def now() -> float:
    return asyncio.get_running_loop().time()


class ToyClient:
    """Calls a rule with the content of the last message and the number of that prompt's call, from 1."""

    def __init__(self, rule: Callable[[str, int], Awaitable[str]]) -> None:
        self._rule = rule
        self.calls: list[tuple[str, float]] = []
        self.in_flight = self.peak = 0

    async def complete(self, request: ChatRequest) -> ChatAnswer:
        content = request.messages[-1][1]
        self.calls.append((content, now()))
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            text = await self._rule(content, [prompt for prompt, _ in self.calls].count(content))
        finally:
            self.in_flight -= 1
        return ChatAnswer(text, 10, 5)

    async def aclose(self) -> None: ...


def make_request(content: str = "hello", provider: str = "dashscope", **fields: Any) -> ChatRequest:
    asked = {"model": "qwen-flash", "temperature": 0.5, "max_tokens": 100, "seed": 7, "json_object": True, **fields}
    messages = (("system", "Answer as JSON."), ("user", content))
    return ChatRequest(provider=provider, prompt_version="toy.v1+000000000000", messages=messages, **asked)


def make_limits(**fields: Any) -> BatchLimits:
    chosen = {"concurrency": 4, "requests_per_minute": None, "tokens_per_minute": None, "timeout_s": 10.0}
    return BatchLimits(**{**chosen, "max_attempts": 4, "breaker_failures": 20, **fields})
