from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

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
from ur4rec.text.llm.responses import FailedResponse, explain, parse_retry_after, read_choice, read_error_body


@pytest.mark.parametrize(
    ("status", "code", "kind", "reason"),
    [
        (429, "Throttling.RateQuota", TransientError, Reason.THROTTLED),
        (429, "insufficient_quota", TransientError, Reason.THROTTLED),
        (400, "Throttling", TransientError, Reason.THROTTLED),
        (408, "RequestTimeOut", TransientError, Reason.SERVER_ERROR),
        (500, "", TransientError, Reason.SERVER_ERROR),
        (503, "", TransientError, Reason.SERVER_ERROR),
        (400, "DataInspectionFailed", RefusedError, Reason.CONTENT_FILTER),
        (400, "data_inspection_failed", RefusedError, Reason.CONTENT_FILTER),
        (400, "Arrearage", FatalError, Reason.BALANCE),
        (402, "", FatalError, Reason.BALANCE),
        (401, "InvalidApiKey", FatalError, Reason.API_KEY),
        (403, "AccessDenied.Unpurchased", FatalError, Reason.API_KEY),
        (404, "model_not_found", FatalError, Reason.NOT_FOUND),
        (302, "", FatalError, Reason.NOT_FOUND),
        (400, "InvalidParameter", RejectedError, Reason.REJECTED),
        (413, "", RejectedError, Reason.REJECTED),
    ],
)
def test_what_a_failure_means(status: int, code: str, kind: type[ChatError], reason: Reason) -> None:
    error = explain(FailedResponse(status, code, "told", None), "secret")
    assert type(error) is kind
    assert error.reason is reason
    assert f"HTTP {status}" in str(error)
    assert getattr(error, "is_throttled", False) is (reason is Reason.THROTTLED)


def test_an_unknown_model_of_old_spelling_is_fatal() -> None:
    assert isinstance(explain(FailedResponse(400, "InvalidParameter", "Model not exist.", None), ""), FatalError)


def test_the_message_is_one_line_without_the_key() -> None:
    message = "Wrong key sk-12345\n<b>in</b>   the\theader. " + "x" * 500
    told = str(explain(FailedResponse(401, "InvalidApiKey", message, None), "sk-12345"))
    assert "HTTP 401 InvalidApiKey: Wrong key *** in the header. xx" in told
    assert "sk-12345" not in told
    assert "\n" not in told
    assert len(told) < 400


def test_retry_after_is_seconds_or_a_date() -> None:
    assert parse_retry_after("7") == 7.0
    assert parse_retry_after("0.5") == 0.5
    assert parse_retry_after(None) is None
    assert parse_retry_after("soon") is None
    later = parse_retry_after(format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True))
    assert later is not None
    assert 200 < later <= 300
    assert parse_retry_after(format_datetime(datetime.now(UTC) - timedelta(minutes=5), usegmt=True)) == 0.0


def test_a_busy_service_that_says_when_to_come_back_throttles() -> None:
    failed = read_error_body(503, {"error": {"message": "busy", "type": "overloaded"}}, "", {"RETRY-AFTER": "3"})
    assert failed == FailedResponse(503, "overloaded", "busy", "3")
    error = explain(failed, "")
    assert isinstance(error, TransientError)
    assert (error.is_throttled, error.retry_after_s) == (True, 3.0)


@pytest.mark.parametrize("body", [None, [], {"error": "told"}, {"detail": 1}])
def test_an_error_body_of_any_shape_is_read(body: object) -> None:
    assert read_error_body(500, body, "text", {}) == FailedResponse(500, "", "text", None)


def test_choices() -> None:
    def choice(content: object, reason: str = "stop") -> list[dict[str, object]]:
        return [{"finish_reason": reason, "message": {"content": content}}]

    assert read_choice(choice("hi", "length"), 3, 4) == ChatAnswer("hi", 3, 4)
    empty = read_choice(choice(" \n"), 3, 4)
    assert isinstance(empty, EmptyAnswerError)
    assert (empty.tokens_in, empty.tokens_out) == (3, 4)
    assert isinstance(read_choice(choice("", "content_filter"), 3, 0), RefusedError)
    wrong: tuple[Any, ...] = ([], None, [{}], ["x"], [{"message": None}], [{"message": "x"}])
    for choices in wrong:
        error = read_choice(choices, 3, 3)
        assert isinstance(error, TransientError)
        assert error.reason is Reason.MALFORMED


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("content", [None, "", " \n", []])
def test_thoughts_are_the_answer_where_the_content_is_empty(field: str, content: object) -> None:
    message = {"content": content, field: "hi"}
    assert read_choice([{"message": message}], 3, 4) == ChatAnswer("hi", 3, 4)
    assert isinstance(read_choice([{"message": message | {field: None}}], 3, 4), EmptyAnswerError)


def test_content_comes_before_thoughts_and_may_be_in_parts() -> None:
    parts = [{"type": "text", "text": "h"}, {"type": "image"}, {"type": "text", "text": "i"}]
    for content in ("hi", parts):
        assert read_choice([{"message": {"content": content, "reasoning": "no"}}], 3, 4) == ChatAnswer("hi", 3, 4)


@pytest.mark.parametrize("tokens", [None, 0, -1, "many", float("nan"), {}])
def test_tokens_that_the_service_does_not_tell_are_estimated(tokens: object) -> None:
    asked = (("user", "Name a warm comedy."),)
    answer = read_choice([{"message": {"content": "A warm comedy of 1995."}}], tokens, tokens, asked)
    assert answer == ChatAnswer("A warm comedy of 1995.", 5 + 5, 9, estimated=True)
    empty = read_choice([{"message": {"content": ""}}], tokens, tokens, asked)
    assert isinstance(empty, EmptyAnswerError)
    assert (empty.tokens_in, empty.tokens_out, empty.estimated) == (10, 0, True)
