"""Lines as Python prints a dictionary: `{u'user': u'Anna', 'early': False}`; nothing in them is run."""

from __future__ import annotations

import ast
import json
import re
import warnings
from itertools import accumulate
from typing import Any

MAX_CHARACTERS = 1 << 20
MAX_DEPTH = 50
"""Brackets and signs one inside of the other; parsers go down a level for each."""
PLAIN = re.compile(r"""[uU]?(?:'([^'\\]*)'|"([^"\\]*)")|\b(True|False|None)\b""")
TEXT = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
WORDS = {"True": "true", "False": "false", "None": "null"}


def parse_literal(line: str) -> Any:
    r"""Return what a line says in Python's notation of texts, numbers, lists and dictionaries.

    Raises:
        ValueError: It says anything else, or is absurdly long or deep.

    >>> parse_literal("{u'user': u'Anna \"A\"', 'played': None, 'tags': ['a', \"b's\"]}")
    {'user': 'Anna "A"', 'played': None, 'tags': ['a', "b's"]}
    """
    if len(line) > MAX_CHARACTERS:
        raise ValueError("too long")
    if line.count("[") + line.count("{") > MAX_DEPTH and _measure_depth(line) > MAX_DEPTH:
        raise ValueError("too deep")  # newer parsers of JSON would go down all the way
    try:
        if "\\" not in line:
            return json.loads(PLAIN.sub(_write_json, line), strict=False)
    except (ValueError, RecursionError):
        pass  # what JSON has no notation for, such as tuples
    if _measure_depth(line) > MAX_DEPTH:
        raise ValueError("too deep")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.literal_eval(line.strip())
    except (SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise ValueError(str(error)) from None


def _write_json(match: re.Match[str]) -> str:
    if match[3]:
        return WORDS[match[3]]
    return '"' + (match[1] or match[2] or "").replace('"', '\\"') + '"'


def _measure_depth(line: str) -> int:
    """Return how many brackets are open at once, plus the longest row of signs, texts left out."""
    bare = re.sub(r"\s", "", TEXT.sub("", line))
    steps = (1 if character in "[({" else -1 for character in re.findall(r"[\[({\])}]", bare))
    return max(accumulate(steps), default=0) + max(map(len, re.findall(r"[-+~]+", bare)), default=0)
