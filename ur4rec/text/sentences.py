"""Split a text into sentences by rules, in any script, without a model."""

from __future__ import annotations

import re
from itertools import pairwise

_FULL_STOPS = r"\u3002\uff01\uff1f"
"""The ideographic full stop, exclamation mark and question mark need no space behind them."""
_FULL_CLOSERS = r"\u201d\u2019\u300d\u300f\uff09"
_OPENERS = r"[\"'(\[*_\u201c\u2018\u00ab]*"
_CLOSERS = r"[\"')\]*_\u201d\u2019\u00bb]*"

_HARD_BREAK = re.compile(
    rf"\s*\n\s*|(?<=[{_FULL_STOPS}])(?![{_FULL_STOPS}{_FULL_CLOSERS}])|(?<=[{_FULL_STOPS}][{_FULL_CLOSERS}])"
)
_LIST_MARK = re.compile(r"^(?:[-*\u2022\u2013]|\d{1,2}[.)])\s+")
_CANDIDATE = re.compile(rf"(?P<mark>[.!?\u2026]+){_CLOSERS}\s+(?=(?P<opening>{_OPENERS})(?P<next>\w))")
_LAST_WORD = re.compile(r"[^\s\"'(\[*\u201c\u2018]+$")
_ACRONYM = re.compile(r"^(?:[^\W\d_]\.)+[^\W\d_]$")
_ABBREVIATIONS = frozenset(
    (
        *("capt", "col", "dr", "gen", "hon", "jr", "lt", "messrs", "mr", "mrs", "ms", "prof", "rev", "sgt", "sr"),
        *("al", "approx", "ca", "cf", "e.g", "feat", "i.e", "mt", "st", "vs"),
    )
)
_BEFORE_NUMBERS = frozenset(("ch", "ep", "fig", "no", "nr", "p", "pp", "pt", "vol"))


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text in their order; there is at least one.

    A line break ends a sentence and list marks are dropped. "Mr. Smith", "E.T. the", "J. R. R. Tolkien",
    "No. 5" and decimals stay together.

    >>> split_sentences("Likes Mr. Smith Goes to Washington (1939). More of it... Perhaps?")
    ['Likes Mr. Smith Goes to Washington (1939).', 'More of it...', 'Perhaps?']
    """
    lines = (_LIST_MARK.sub("", line) for line in _HARD_BREAK.split(text.strip()))
    sentences = [sentence for line in lines for sentence in _split_line(line) if any(map(str.isalnum, sentence))]
    return sentences or [text.strip()]


def _split_line(line: str) -> list[str]:
    ends = [match.end() for match in _CANDIDATE.finditer(line) if _is_end(line, match)]
    return [line[start:end].strip() for start, end in pairwise([0, *ends, len(line)])]


def _is_end(line: str, match: re.Match[str]) -> bool:
    """Return whether a mark ends a sentence, judged by what follows it and by the word before it."""
    following = match["next"]
    if following.islower() or (following.isdigit() and (match["opening"] or match["mark"] != ".")):
        return False
    if match["mark"] != ".":
        return True
    word = _LAST_WORD.search(line, 0, match.start())
    before = word[0] if word else ""
    if following.isdigit() and before.lower() in _BEFORE_NUMBERS:
        return False
    is_initial = len(before) == 1 and before.isupper()
    return not (is_initial or before.lower() in _ABBREVIATIONS or _ACRONYM.match(before))
