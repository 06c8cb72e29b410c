import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import pytest
from server import Behaviour, Fault, serve
from toy_chats import ToyClient, make_limits, make_request, now, run_skipping

from ur4rec.text.llm.batch import ALIVE_PER_SLOT, Batch
from ur4rec.text.llm.chat import (
    ChatAnswer,
    ChatError,
    ChatRequest,
    CircuitOpenError,
    EmptyAnswerError,
    FatalError,
    Reason,
    RefusedError,
    RejectedError,
    TransientError,
)
from ur4rec.text.llm.costs import Usage
from ur4rec.text.llm.pacing import BatchLimits
from ur4rec.text.provider_table import create_client

Rule = Callable[[str, int], Awaitable[str]]


class Run:
    """A batch over toy requests "0", "1", …, on the skipping clock."""

    def __init__(self, rule: Rule, requests: Iterator[str], limits: BatchLimits) -> None:
        self.client = ToyClient(rule)
        self.outcomes: dict[str, ChatAnswer | ChatError] = {}
        self.usage = Usage()
        self.error: Exception | None = None
        self._requests, self._limits = requests, limits
        self.seconds = run_skipping(self._run())

    async def _run(self) -> None:
        try:
            await Batch(self.client, map(make_request, self._requests), self._keep, self._limits, self.usage).run()
        except (ChatError, OSError) as error:
            self.error = error

    async def _keep(self, chat: ChatRequest, outcome: ChatAnswer | ChatError) -> None:
        await self._handle(chat.messages[-1][1], outcome)

    async def _handle(self, request: str, outcome: ChatAnswer | ChatError) -> None:
        assert request not in self.outcomes
        self.outcomes[request] = outcome


def names(count: int) -> Iterator[str]:
    return map(str, range(count))


def throttle(retry_after_s: float | None = None) -> TransientError:
    return TransientError("throttled", Reason.THROTTLED, retry_after_s, is_throttled=True)


async def answer_after_a_second(content: str, call: int) -> str:
    await asyncio.sleep(1)
    return f"answer {content}"


def test_every_request_is_answered_at_the_full_concurrency() -> None:
    run = Run(answer_after_a_second, names(40), make_limits(concurrency=4))
    texts = {key: outcome.text for key, outcome in run.outcomes.items() if isinstance(outcome, ChatAnswer)}
    assert texts == {n: f"answer {n}" for n in names(40)}
    assert run.client.peak == 4
    assert run.seconds == pytest.approx(10.0, abs=0.01)
    assert (run.usage.calls, run.usage.answered) == (40, 40)
    assert (run.usage.tokens_in, run.usage.tokens_out) == (400, 200)
    assert run.error is None


def test_requests_are_read_as_slots_come_free() -> None:
    unsettled: list[int] = []
    read: list[str] = []

    def counted() -> Iterator[str]:
        for name in names(500):
            read.append(name)
            yield name

    async def rule(content: str, call: int) -> str:
        await asyncio.sleep(1)
        unsettled.append(len(read) - len(unsettled))
        return content

    run = Run(rule, counted(), make_limits(concurrency=4))
    assert len(run.outcomes) == 500
    assert max(unsettled) <= ALIVE_PER_SLOT * 4


def test_a_request_that_waits_leaves_its_slot_to_another() -> None:
    async def rule(content: str, call: int) -> str:
        await asyncio.sleep(1)
        if content == "9" and call == 1:
            raise throttle(50.0)
        return content

    run = Run(rule, names(40), make_limits(concurrency=2))
    assert len(run.outcomes) == 40
    again = [at for content, at in run.client.calls if content == "9"]
    assert again[1] - again[0] >= 51.0
    assert max(at for content, at in run.client.calls if content != "9") == pytest.approx(
        19.0, abs=0.01
    )  # 39 others and one more, 2 a second
    assert run.usage.retries == {"throttled": 1}


def test_all_pause_while_most_calls_are_throttled(capsys: pytest.CaptureFixture[str]) -> None:
    async def rule(content: str, call: int) -> str:
        await asyncio.sleep(0.1)
        if now() < 100.0:
            raise throttle()
        return content

    run = Run(rule, names(50), make_limits(concurrency=8, max_attempts=4, breaker_failures=20))
    assert len(run.outcomes) == 50
    assert run.usage.failures == {}
    assert run.usage.answered == 50
    assert sum(at < 100.0 for _, at in run.client.calls) <= 8 * 8  # a burst after each of seven pauses
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("all calls pause for 1 s, 0 answered: throttled")
    assert 2 <= len(told) <= 4  # at most every 30 of 127 s


def test_retry_after_holds_everyone_back_where_nothing_else_goes_through() -> None:
    async def rule(content: str, call: int) -> str:
        await asyncio.sleep(0.1)
        if now() < 30.0:
            raise throttle(40.0)
        return content

    run = Run(rule, names(20), make_limits(concurrency=4))
    assert len(run.outcomes) == 20
    assert {round(at) for _, at in run.client.calls if at < 40.0} == {0}


def test_a_service_that_asks_for_hours_ends_the_batch() -> None:
    async def rule(content: str, call: int) -> str:
        raise throttle(7200.0)

    run = Run(rule, names(20), make_limits(concurrency=4))
    assert isinstance(run.error, CircuitOpenError)
    assert "asks to wait 7200 s" in str(run.error)
    assert run.seconds == pytest.approx(0.0, abs=0.01)


def test_a_service_that_only_throttles_ends_the_batch() -> None:
    async def rule(content: str, call: int) -> str:
        await asyncio.sleep(0.1)
        raise throttle(60.0)

    run = Run(rule, names(20), make_limits(concurrency=4, max_attempts=50))
    assert isinstance(run.error, CircuitOpenError)
    assert "no answer for 9" in str(run.error)
    assert "quota and balance" in str(run.error)
    assert 900 < run.seconds < 1100


def test_transient_failures_are_repeated_up_to_the_limit_and_then_handed_over() -> None:
    async def rule(content: str, call: int) -> str:
        if content == "3" or (content == "4" and call < 4):
            raise TransientError("500", Reason.SERVER_ERROR)
        return content

    run = Run(rule, names(10), make_limits(max_attempts=4))
    assert len(run.outcomes) == 10
    assert isinstance(run.outcomes["3"], TransientError)
    assert isinstance(run.outcomes["4"], ChatAnswer)
    assert Counter(content for content, _ in run.client.calls)["3"] == 4
    assert run.usage.retries == {"server_error": 6}
    assert run.usage.failures == {"server_error": 1}
    assert run.usage.calls == 16


def test_permanent_failures_are_asked_once_and_handed_over() -> None:
    failures = {
        "1": RefusedError("filtered", Reason.CONTENT_FILTER),
        "2": RejectedError("too long", Reason.REJECTED),
    }

    async def rule(content: str, call: int) -> str:
        if content in failures:
            raise failures[content]
        return content

    run = Run(rule, names(5), make_limits())
    assert run.usage.calls == 5
    assert {request: run.outcomes[request] for request in failures} == failures
    assert run.usage.failures == {"content_filter": 1, "rejected": 1}


def test_empty_answers_become_a_permanent_failure_and_their_tokens_count() -> None:
    async def rule(content: str, call: int) -> str:
        raise EmptyAnswerError(10, 1)

    run = Run(rule, names(1), make_limits(max_attempts=3))
    assert type(run.outcomes["0"]) is RejectedError
    assert run.outcomes["0"].reason is Reason.EMPTY
    assert (run.usage.calls, run.usage.tokens_in, run.usage.tokens_out) == (3, 30, 3)


def test_a_call_that_hangs_is_cut_off() -> None:
    async def rule(content: str, call: int) -> str:
        await asyncio.sleep(1e6 if call == 1 else 0)
        return content

    run = Run(rule, names(1), make_limits(timeout_s=10.0))
    assert isinstance(run.outcomes["0"], ChatAnswer)
    assert run.usage.retries == {"timeout": 1}


def test_a_fatal_error_stops_at_once_and_calls_in_flight_are_kept() -> None:
    async def rule(content: str, call: int) -> str:
        await asyncio.sleep(1)
        if content == "0":
            raise FatalError("the key is wrong", Reason.API_KEY)
        await asyncio.sleep(1)
        return content

    run = Run(rule, names(1000), make_limits(concurrency=8))
    assert isinstance(run.error, FatalError)
    assert len(run.client.calls) == 8
    assert set(run.outcomes) == set("1234567")
    assert run.seconds == pytest.approx(2.0, abs=0.01)


def test_what_waits_for_a_retry_or_a_rate_does_not_delay_the_stop() -> None:
    async def rule(content: str, call: int) -> str:
        if content == "1":
            raise throttle(500.0)
        if content == "2":
            raise FatalError("no balance", Reason.BALANCE)
        return content

    run = Run(rule, names(1000), make_limits(concurrency=2, requests_per_minute=1))
    assert isinstance(run.error, FatalError)
    assert run.seconds == pytest.approx(120.0, abs=0.01)  # when the rate lets the third call through
    assert set(run.outcomes) == {"0"}


def test_the_breaker_opens_when_nothing_succeeds() -> None:
    async def rule(content: str, call: int) -> str:
        raise TransientError("HTTP 500", Reason.SERVER_ERROR)

    run = Run(rule, names(1000), make_limits(concurrency=4, breaker_failures=20, max_attempts=20))
    assert isinstance(run.error, CircuitOpenError)
    assert str(run.error) == "20 failures in a row without a success; the last: HTTP 500"
    assert 20 <= len(run.client.calls) <= 20 + 3
    assert not run.outcomes


def test_refusals_alone_do_not_open_the_breaker() -> None:
    async def rule(content: str, call: int) -> str:
        raise RefusedError("filtered", Reason.CONTENT_FILTER)

    run = Run(rule, names(100), make_limits(breaker_failures=20))
    assert run.error is None
    assert len(run.outcomes) == 100


@pytest.mark.parametrize("where", ["requests", "handle"])
def test_errors_of_the_caller_come_through(where: str) -> None:
    def requests() -> Iterator[str]:
        yield from names(20)
        if where == "requests":
            raise OSError("disk")
        yield from names(1000)

    class Failing(Run):
        async def _handle(self, request: str, outcome: ChatAnswer | ChatError) -> None:
            if where == "handle" and request == "17":
                raise OSError("disk")
            self.outcomes[request] = outcome

    run = Failing(answer_after_a_second, requests(), make_limits(concurrency=2))
    assert isinstance(run.error, OSError)
    assert len(run.client.calls) < 30


def test_an_interrupted_batch_waits_for_the_calls_in_flight_and_begins_no_other() -> None:
    handled: list[ChatRequest] = []

    async def main() -> None:
        client = ToyClient(answer_after_a_second)

        async def handle(request: ChatRequest, outcome: ChatAnswer | ChatError) -> None:
            assert isinstance(outcome, ChatAnswer)
            handled.append(request)

        batch = Batch(client, map(make_request, names(100)), handle, make_limits(concurrency=4), Usage())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await batch.run()
        assert client.in_flight == 0
        assert len(client.calls) == len(handled) == 12
        assert asyncio.all_tasks() == {asyncio.current_task()}

    assert run_skipping(main()) == pytest.approx(3.0, abs=0.01)


@pytest.mark.server
@pytest.mark.parametrize("provider", ["dashscope", "openai"])
def test_stress_every_request_is_answered_exactly_once(provider: str) -> None:
    shares = {Fault.THROTTLED: 0.07, Fault.THROTTLED_FOR: 0.03, Fault.FAILING: 0.03}
    answered: list[str] = []

    async def handle(request: ChatRequest, outcome: ChatAnswer | ChatError) -> None:
        assert isinstance(outcome, ChatAnswer)
        answered.append(request.messages[-1][1])

    async def main(url: str) -> Usage:
        usage = Usage()
        client = create_client(provider, url, "sk-1", 100.0)
        limits = make_limits(concurrency=32, max_attempts=8, timeout_s=100.0)
        await Batch(client, (make_request(name, provider) for name in names(300)), handle, limits, usage).run()
        await client.aclose()
        return usage

    with serve(Behaviour(latency_ms=20, shares=shares, retry_after_s=0.2, seed=1)) as server:
        usage = asyncio.run(main(server.url + ("/api/v1" if provider == "dashscope" else "/compatible-mode/v1")))
        counts = server.counts()
    assert sorted(answered, key=int) == list(names(300))
    assert (counts["successes"], counts["answered_prompts"], counts["most_successes"]) == (300, 300, 1)
    assert counts["peak_in_flight"] <= 32
    assert counts["calls"] == usage.calls == 300 + sum(usage.retries.values())
    assert counts["faults"]["throttled"] + counts["faults"]["throttled-for"] == usage.retries["throttled"] > 15


@pytest.mark.server
def test_a_wrong_key_costs_at_most_one_call_a_slot() -> None:
    async def main(url: str) -> None:
        client = create_client("dashscope", url + "/api/v1", "sk-wrong", 100.0)
        with pytest.raises(FatalError, match="check the API key"):
            await Batch(client, map(make_request, names(300)), handle, make_limits(concurrency=8), Usage()).run()
        await client.aclose()

    async def handle(request: ChatRequest, outcome: ChatAnswer | ChatError) -> None:
        raise AssertionError(f"{request} has no outcome")

    with serve(Behaviour(latency_ms=50, api_key="sk-right")) as server:
        asyncio.run(main(server.url))
        assert server.counts()["wrong_key"] <= 8


@pytest.mark.server
def test_a_body_that_drips_is_cut_off_by_the_batch() -> None:
    async def main(url: str) -> Usage:
        usage = Usage()
        client = create_client("openai", url + "/compatible-mode/v1", "", 0.5)
        await Batch(client, map(make_request, names(1)), handle, make_limits(timeout_s=0.5), usage).run()
        await client.aclose()
        return usage

    async def handle(request: ChatRequest, outcome: ChatAnswer | ChatError) -> None:
        assert isinstance(outcome, ChatAnswer)

    with serve(Behaviour(script=[Fault.SLOW], slow_s=3.0)) as server:
        assert asyncio.run(main(server.url)).retries["timeout"] >= 1
