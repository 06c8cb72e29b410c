"""Python's notation of values, read without running anything."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ur4rec.data.formats.literals import parse_literal

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@given(st.dictionaries(st.text(), VALUES))
def test_what_python_prints_is_read_back(record: dict[str, Any]) -> None:
    assert parse_literal(repr(record)) == record


@pytest.mark.parametrize(
    "line",
    [
        "{'a': f()}",
        "{'a': x}",
        "{'a': 1",
        "",
        "{'a': [" + "[" * 5_000 + "]" * 5_000 + "]}",
        "{'a': " + "-" * 60 + "1}",
        "{'a': (" + "(" * 60 + ")" * 60 + ")}",
        "'" + "a" * (1 << 20) + "'",
        "{[]: 1}",
    ],
    ids=["call", "name", "open", "empty", "deep list", "signs", "deep tuple", "long", "list for a key"],
)
def test_anything_else_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        parse_literal(line)


def test_brackets_inside_of_texts_do_not_count() -> None:
    assert parse_literal("{'a': '" + "\\n[" * 60 + "', 'b': (1,)}")["b"] == (1,)
