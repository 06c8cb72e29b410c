"""Fields that a user adds to the requests to a language model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

OWN_FIELDS = {
    "api_key": "the environment",
    "base_address": "text_base_url",
    "headers": "nothing, for they may hold secrets",
    "history": "the prompt file",
    "input": "the prompt file",
    "max_tokens": "max_tokens of the prompt file",
    "messages": "the prompt file",
    "model": "text_model",
    "n": "nothing, one answer is read",
    "prompt": "the prompt file",
    "request_timeout": "text_timeout_s",
    "response_format": "the form of the answers",
    "result_format": "the form of the answers",
    "seed": "the run",
    "session": "the run",
    "stream": "nothing, answers are read as a whole",
    "temperature": "text_temperature",
}
"""Field that every request has already, or cannot have → what decides it."""
_SECRET_NAME = re.compile(r"api[-_]?key|secret|passw|authorization|credential|(^|_)token$", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"^(sk-|Bearer\s)")


def refuse_fields(fields: dict[str, Any]) -> None:
    """Refuses what a request cannot have or a manifest must not hold.

    Raises:
        ValueError: A field is decided by something else or looks like a secret; names it.
    """
    for name in fields:
        if name in OWN_FIELDS:
            raise ValueError(f"text_request_fields: {name} is decided by {OWN_FIELDS[name]}; leave it out here")
    for name, value in _walk(fields):
        if _SECRET_NAME.search(name) or (isinstance(value, str) and _SECRET_VALUE.search(value)):
            raise ValueError(
                f"text_request_fields: {name} looks like a secret, and settings are written to manifests; leave it out"
            )


def restore_integers(value: Any) -> Any:
    """Whole numbers as integers: a pipeline hands 20 on as 20.0, which a service need not take.

    >>> restore_integers({"top_k": 20.0, "stop": [1.5, "x"]})
    {'top_k': 20, 'stop': [1.5, 'x']}
    """
    if isinstance(value, dict):
        return {key: restore_integers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [restore_integers(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _walk(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with the nearest name around it."""
    yield name, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner, name)
