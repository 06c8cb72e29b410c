import asyncio
import logging
import traceback
from functools import partial
from typing import Any, Literal

import pytest
from server import Behaviour, ChatServer, Fault, answer_text, serve
from toy_chats import make_request

from ur4rec.text.llm.chat import (
    ChatAnswer,
    ChatError,
    EmptyAnswerError,
    FatalError,
    Reason,
    RefusedError,
    RejectedError,
    TransientError,
)
from ur4rec.text.provider_table import SERVICES, create_client

pytestmark = pytest.mark.server

KEY = "sk-very-secret-0123456789"
Provider = Literal["dashscope", "openai"]
BASE: dict[Provider, str] = {"dashscope": "/api/v1", "openai": "/compatible-mode/v1"}


@pytest.fixture(params=["dashscope", "openai"])
def provider(request: pytest.FixtureRequest) -> Provider:
    name: Provider = request.param
    return name


def ask(
    url: str, provider: Provider, times: int = 1, timeout_s: float = 60.0, key: str = KEY, **fields: Any
) -> list[object]:
    """The outcomes of calls one after another over one client."""

    async def run() -> list[object]:
        client = create_client(provider, url, key, timeout_s)
        outcomes: list[object] = []
        for _ in range(times):
            try:
                outcomes.append(await client.complete(make_request("Name the preferred_types.", provider, **fields)))
            except ChatError as error:
                outcomes.append(error)
        await client.aclose()
        return outcomes

    return asyncio.run(run())


def ask_server(
    server: ChatServer, provider: Provider, times: int = 1, timeout_s: float = 60.0, **fields: Any
) -> list[object]:
    return ask(server.url + BASE[provider], provider, times, timeout_s, **fields)


def test_an_answer(provider: Provider) -> None:
    with serve(Behaviour(api_key=KEY)) as server:
        [answer] = ask_server(server, provider)
        body = server.last_body
    messages = [
        {"role": "system", "content": "Answer as JSON."},
        {"role": "user", "content": "Name the preferred_types."},
    ]
    text = answer_text(messages)
    assert answer == ChatAnswer(text, (15 + 25) // 4, len(text) // 4)
    parameters = body["parameters"] if provider == "dashscope" else body
    assert (body["input"] if provider == "dashscope" else body)["messages"] == messages
    assert body["model"] == "qwen-flash"
    assert (parameters["temperature"], parameters["max_tokens"], parameters["seed"]) == (0.5, 100, 7)
    assert parameters["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        (Fault.THROTTLED, TransientError, Reason.THROTTLED),
        (Fault.FAILING, TransientError, Reason.SERVER_ERROR),
        (Fault.BAD_GATEWAY, TransientError, Reason.SERVER_ERROR),
        (Fault.DROPPED, TransientError, Reason.CONNECTION),
        (Fault.HTML_AS_OK, TransientError, Reason.MALFORMED),
        (Fault.MALFORMED, TransientError, Reason.MALFORMED),
        (Fault.TRUNCATED, TransientError, Reason.MALFORMED),
        (Fault.EMPTY, EmptyAnswerError, Reason.EMPTY),
        (Fault.FILTERED, RefusedError, Reason.CONTENT_FILTER),
        (Fault.TOO_LONG, RejectedError, Reason.REJECTED),
        (Fault.ARREARS, FatalError, Reason.BALANCE),
        (Fault.UNKNOWN_MODEL, FatalError, Reason.NOT_FOUND),
    ],
)
def test_a_fault_is_one_typed_error_of_one_call(
    provider: Provider, fault: Fault, kind: type[ChatError], reason: Reason
) -> None:
    with serve(Behaviour(script=[None, fault])) as server:
        _, error, answer = ask_server(server, provider, times=3)
        counts = server.counts()
    assert type(error) is kind
    assert error.reason is reason
    assert "\n" not in str(error)
    assert fault is not Fault.DROPPED or "(ServerDisconnectedError)" in str(error)
    assert isinstance(answer, ChatAnswer)
    assert counts["calls"] == 3  # nothing was sent again behind our back
    assert counts["successes"] == 2


def test_retry_after_comes_through(provider: Provider) -> None:
    with serve(Behaviour(script=[Fault.THROTTLED_FOR, Fault.THROTTLED], retry_after_s=7)) as server:
        first, second = ask_server(server, provider, times=2)
    assert isinstance(first, TransientError)
    assert isinstance(second, TransientError)
    assert (first.retry_after_s, first.is_throttled) == (7.0, True)
    assert (second.retry_after_s, second.is_throttled) == (None, True)


def test_a_slow_answer_times_out(provider: Provider) -> None:
    with serve(Behaviour(latency_ms=2000)) as server:
        [error] = ask_server(server, provider, timeout_s=0.1)
    assert isinstance(error, TransientError)
    assert error.reason is Reason.TIMEOUT
    assert str(error) == "no complete answer within 0.1 s"


def test_nobody_listens(provider: Provider) -> None:
    with serve(Behaviour()) as server:
        url = server.url
    [error] = ask(url + BASE[provider], provider)
    assert isinstance(error, TransientError)
    assert error.reason is Reason.CONNECTION
    assert f"connection to {url.removeprefix('http://')} failed" in str(error)


def test_the_key_is_told_nowhere(provider: Provider, caplog: pytest.LogCaptureFixture) -> None:
    """Not by our errors, nor by what is chained to them, nor by the libraries' logs, whatever goes wrong."""
    caplog.set_level(logging.DEBUG)
    with serve(Behaviour(script=list(Fault), slow_s=1.0)) as server:
        outcomes = ask_server(server, provider, times=len(Fault), timeout_s=0.3)
        with serve(Behaviour(api_key="another")) as locked:
            outcomes += ask_server(locked, provider)
    outcomes += ask("http://127.0.0.1:9" + BASE[provider], provider)
    told = [caplog.text]
    for error in outcomes:
        if isinstance(error, ChatError):
            assert error.__context__ is None
            told += [str(error), repr(error), "".join(traceback.format_exception(error))]
    assert sum(isinstance(error, ChatError) for error in outcomes) >= len(Fault)
    assert not [text for text in told if KEY in text]
    assert "Traceback" not in caplog.text
    for connect in (SERVICES[provider].connect, partial(create_client, provider)):
        assert KEY not in repr(connect("http://127.0.0.1:9", KEY, 1.0))


def test_the_wrong_key_is_one_clear_line(provider: Provider) -> None:
    with serve(Behaviour(api_key="another")) as server:
        [error] = ask_server(server, provider)
    assert isinstance(error, FatalError)
    assert str(error) == (
        f"access was denied (HTTP 401 {'InvalidApiKey' if provider == 'dashscope' else 'invalid_api_key'}: "
        "Invalid API-key provided.); check the API key, and that it belongs to the region of the base URL"
    )


def test_no_pool_holds_calls_back(provider: Provider) -> None:
    async def run(url: str) -> None:
        client = create_client(provider, url, KEY, 60.0)
        await asyncio.gather(*(client.complete(make_request(str(number), provider)) for number in range(40)))
        await client.aclose()

    with serve(Behaviour(latency_ms=100)) as server:
        asyncio.run(run(server.url + BASE[provider]))
        assert server.counts()["peak_in_flight"] == 40


def test_thinking_is_turned_off(provider: Provider) -> None:
    with serve(Behaviour(thoughts="<think>Well…</think>{}")) as server:
        [answer] = ask_server(server, provider)
        body = server.last_body
    assert isinstance(answer, ChatAnswer)
    assert "think" not in answer.text
    assert (body["parameters"] if provider == "dashscope" else body)["enable_thinking"] is False
    if provider == "openai":
        assert body["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize("field", ["enable_thinking", "chat_template_kwargs"])
def test_a_service_that_refuses_unknown_fields_is_asked_without_them_from_then_on(field: str) -> None:
    with serve(Behaviour(unknown_fields=frozenset({field}))) as server:
        answers = ask_server(server, "openai", times=3)
        assert (server.counts()["calls"], server.counts()["successes"]) == (4, 3)
        assert field not in server.last_body
    assert all(isinstance(answer, ChatAnswer) for answer in answers)


def test_what_else_is_refused_stays_refused() -> None:
    with serve(Behaviour(script=[Fault.TOO_LONG, Fault.TOO_LONG, None, Fault.TOO_LONG])) as server:
        outcomes = ask_server(server, "openai", times=3)
        assert server.counts()["calls"] == 4  # the fields are asked about until an answer shows that they are taken
    assert [type(outcome) for outcome in outcomes] == [RejectedError, ChatAnswer, RejectedError]


def test_fields_of_the_request_are_passed_on_and_come_before_ours(provider: Provider) -> None:
    fields = {"top_p": 0.5, "enable_thinking": True, "extra": {"depth": 3}}
    with serve(Behaviour()) as server:
        [answer] = ask_server(server, provider, request_fields=fields)
        body = server.last_body
    assert isinstance(answer, ChatAnswer)
    passed = body["parameters"] if provider == "dashscope" else body
    assert {name: passed[name] for name in fields} == fields


def test_fields_of_the_request_are_not_left_out_where_they_are_refused(provider: Provider) -> None:
    with serve(Behaviour(unknown_fields=frozenset({"depth"}))) as server:
        [error] = ask_server(server, provider, request_fields={"depth": 3})
    assert isinstance(error, RejectedError)
    assert "Unrecognized: ['depth']" in str(error)


def test_a_service_that_counts_no_tokens(provider: Provider) -> None:
    with serve(Behaviour(tells_usage=False)) as server:
        [answer] = ask_server(server, provider)
    assert isinstance(answer, ChatAnswer)
    assert answer.estimated
    assert answer.tokens_in > 0
    assert answer.tokens_out > 0


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_an_answer_among_the_thoughts(provider: Provider, field: str) -> None:
    with serve(Behaviour(answer_field=field)) as server:
        [answer] = ask_server(server, provider)
    assert isinstance(answer, ChatAnswer)
    assert "preferred_types" in answer.text
