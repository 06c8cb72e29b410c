"""What a user's choices have in common, counted: for the template and for prompts alike."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import cache

from ur4rec.text.requests import ItemRequest


def name_decade(year: int) -> str:
    """The decade of a year.

    >>> name_decade(1987)
    '1980s'
    """
    return f"{year // 10 * 10}s"


def decade_of(item: ItemRequest) -> tuple[str, ...]:
    """The decade of an item, or none."""
    return () if item.year is None else (name_decade(item.year),)


def rank(counts: Counter[str], most: int) -> list[tuple[str, int]]:
    """The most frequent names; alphabetical among equals, so that the order of counting does not matter."""
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most]


def measure_typicality(profile: Counter[str]) -> Callable[[tuple[str, ...]], float]:
    """How close an item's features (genres and decade) are to a profile: the cosine, up to the profile's length."""

    @cache
    def measure(features: tuple[str, ...]) -> float:
        return sum(profile[name] for name in features) / math.sqrt(len(features) or 1)

    return measure
