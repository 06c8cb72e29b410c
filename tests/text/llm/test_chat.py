import dataclasses
import hashlib
from typing import Any

import pytest
from toy_chats import make_request


def test_the_key_is_the_digest_of_canonical_json() -> None:
    canonical = (
        '{"json_object":true,"max_tokens":100,"messages":[["system","Answer as JSON."],["user","Zo\\u00eb"]],'
        '"model":"qwen-flash","prompt_version":"toy.v1+000000000000","provider":"dashscope","seed":7,"temperature":0.5}'
    )
    assert make_request("Zoë").key == hashlib.sha256(canonical.encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"provider": "openai"},
        {"model": "qwen-plus"},
        {"prompt_version": "toy.v2+000000000000"},
        {"messages": (("user", "hello"),)},
        {"temperature": 0.6},
        {"max_tokens": 101},
        {"seed": 8},
        {"json_object": False},
        {"request_fields": {"top_p": 0.5}},
        {"request_fields": {"chat_template_kwargs": {"enable_thinking": True}}},
    ],
)
def test_every_field_changes_the_key(change: dict[str, Any]) -> None:
    request = make_request()
    assert dataclasses.replace(request, **change).key != request.key


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"enable_thinking": False},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"user": "ann", "service_tier": "flex", "metadata": {"team": "a"}},
    ],
)
def test_fields_that_change_no_answer_do_not_change_the_key(fields: dict[str, object]) -> None:
    assert make_request(request_fields=fields).key == make_request().key


def test_the_order_of_fields_does_not_change_the_key() -> None:
    first, second = ({"top_p": 0.5, "top_k": 3}, {"top_k": 3, "top_p": 0.5})
    assert make_request(request_fields=first).key == make_request(request_fields=second).key
