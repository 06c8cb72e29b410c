"""Fields that a user may add to a request."""

import pytest

from ur4rec.config import load_config
from ur4rec.config_section import ConfigError
from ur4rec.text.config import TextConfig


def test_they_are_given_as_yaml() -> None:
    given = {"text_request_fields": "{top_p: 0.9, chat_template_kwargs: {enable_thinking: false}}"}
    fields = load_config(None, given).text_request_fields
    assert fields == {"top_p": 0.9, "chat_template_kwargs": {"enable_thinking": False}}


def test_a_pipeline_hands_integers_on_as_fractions() -> None:
    fields = {"top_k": 20.0, "stop": [1.0, "x"], "extra": {"n": 3.0, "p": 0.5, "on": True}}
    restored = TextConfig.parse({"text_request_fields": fields}).text_request_fields
    assert repr(restored) == "{'top_k': 20, 'stop': [1, 'x'], 'extra': {'n': 3, 'p': 0.5, 'on': True}}"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"model": "x"}, "model is decided by text_model"),
        ({"max_tokens": 9}, "max_tokens of the prompt file"),
        ({"stream": True}, "stream is decided by nothing"),
        ({"headers": {"x": "y"}}, "headers is decided by nothing"),
        ({"api-key": "x"}, "api-key looks like a secret"),
        ({"extra": {"access_token": "x"}}, "access_token looks like a secret"),
        ({"extra": [{"proof": "Bearer abc"}]}, "proof looks like a secret"),
        ({"note": "sk-12345"}, "note looks like a secret"),
        ({"top_p": float("inf")}, "top_p.float: Input should be a finite number, got inf"),
        ({"day": object()}, "text_request_fields"),
        ("top_p", "text_request_fields"),
    ],
)
def test_what_is_refused_is_named(fields: object, told: str) -> None:
    with pytest.raises(ConfigError, match="text_request_fields") as caught:
        TextConfig.parse({"text_request_fields": fields})
    assert told in str(caught.value)
    assert "sk-12345" not in str(caught.value)
