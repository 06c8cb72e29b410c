"""What a prompt says of a user or an item: chosen, counted and cleaned, a function of the request alone.

Whatever comes from outside (titles, descriptions, answers of a model) is cleaned, shortened, written as JSON and put
between two marks that the cleaned text cannot contain. A title may still say anything; it cannot end its string, its
block or its message.
"""

from __future__ import annotations

import heapq
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

from ur4rec.text.requests import ItemRequest, UserRequest, decade_of, measure_typicality, rank

MAX_CHOICES = 40
"""Interactions named in a prompt; a longer history is told by its counts and by these."""
NUM_FIRST = 5
NUM_TYPICAL = 15
NUM_LATEST = MAX_CHOICES - NUM_FIRST - NUM_TYPICAL

MAX_TITLE = 120
MAX_GENRE = 40
MAX_GENRES = 8
MAX_COUNTED = 24
"""Genres or decades whose counts are given, the most frequent ones."""
MAX_DESCRIPTION = 600

BEGIN_DATA = "<<<BEGIN DATA>>>"
END_DATA = "<<<END DATA>>>"
ELLIPSIS = "…"
_MARK_CHARACTERS = re.compile(r"[<>`]+")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories of what a reader does not see: controls, direction marks, tags, half surrogates."""
_READ_PER_CHARACTER = 4
"""Characters of the original looked at for one that is kept, so that a huge text costs nothing."""
_to_json = json.JSONEncoder(ensure_ascii=False).encode


def describe_item(item: ItemRequest) -> str:
    """Title, year, genres and description of an item; what is not known is left out."""
    described = {"title": _quote(_title(item))}
    if item.year is not None:
        described["year"] = str(item.year)
    if genres := _clean_genres(item):
        described["genres"] = _list(map(_quote, genres))
    if description := clean(item.description, MAX_DESCRIPTION):
        described["description"] = _to_json(description)
    return _delimit(described)


def describe_user(request: UserRequest) -> str:
    """Counts over everything that the request holds, and at most 40 of its items by name.

    An item that was chosen repeatedly stands where it was chosen last. Up to 40 items are all named; of more,
    the first 5, the latest 20 and, of those between, the 15 closest to the profile (cosine over genres and
    decade; of equals the earliest), each group in the order of time. Ids and dates are not in it.
    """
    choices = list(map(_look_at, request.items))
    genres = Counter(chain.from_iterable(map(attrgetter("genres"), choices)))
    decades = Counter(chain.from_iterable(map(attrgetter("decade"), choices)))
    described = {"number_of_choices": str(request.as_of)}
    if genres:
        described["choices_by_genre"] = _list_counts(genres)
    if decades:
        described["choices_by_decade"] = _list_counts(decades)
    return _delimit(described | _name_choices(choices, genres, decades))


class _Choice(NamedTuple):
    """What is said of an item in a history."""

    item_id: str
    name: str
    """Title, year and genres, in one line, as JSON."""
    genres: tuple[str, ...]
    """Distinct."""
    decade: tuple[str, ...]
    """Or none."""
    features: tuple[str, ...]
    """Genres and decade, for the comparison with the profile."""


@lru_cache(maxsize=1 << 16)
def _look_at(item: ItemRequest) -> _Choice:
    year = f" ({item.year})" if item.year is not None else ""
    genres, decade = _clean_genres(item), decade_of(item)
    name = f"{_title(item)}{year}" + (f": {', '.join(genres)}" if genres else "")
    return _Choice(item.item_id, _to_json(name), tuple(dict.fromkeys(genres)), decade, genres + decade)


def _name_choices(choices: Sequence[_Choice], genres: Counter[str], decades: Counter[str]) -> dict[str, str]:
    distinct = list({choice.item_id: choice for choice in reversed(choices)}.values())[::-1]
    if len(distinct) <= MAX_CHOICES:
        return {"choices_oldest_first": _name(distinct)}
    first, between, latest = distinct[:NUM_FIRST], distinct[NUM_FIRST:-NUM_LATEST], distinct[-NUM_LATEST:]
    return {
        "first_choices": _name(first),
        "most_typical_choices": _name(_find_typical(between, genres + decades)),
        "latest_choices_newest_last": _name(latest),
    }


def _find_typical(choices: Sequence[_Choice], profile: Counter[str]) -> list[_Choice]:
    measure = measure_typicality(profile)
    scores = [measure(choice.features) for choice in choices]
    positions = heapq.nlargest(NUM_TYPICAL, range(len(choices)), scores.__getitem__)
    return [choices[position] for position in sorted(positions)]


def _name(choices: Iterable[_Choice]) -> str:
    return _list(choice.name for choice in choices)


def _list(values: Iterable[str]) -> str:
    return f"[{', '.join(values)}]"


def _list_counts(counts: Counter[str]) -> str:
    """The most frequent names and their counts."""
    return "{" + ", ".join(f"{_quote(name)}: {count}" for name, count in rank(counts, MAX_COUNTED)) + "}"


@lru_cache(maxsize=4096)
def _quote(label: str) -> str:
    return _to_json(label)


def _title(item: ItemRequest) -> str:
    """Title, or what stands for it where nothing readable is left of it."""
    return clean(item.title, MAX_TITLE) or f"Item {clean(item.item_id, MAX_GENRE)}"


@lru_cache(maxsize=4096)
def _clean_labels(labels: tuple[str, ...]) -> tuple[str, ...]:
    cleaned = (clean(label, MAX_GENRE) for label in labels[:MAX_GENRES])
    return tuple(label for label in cleaned if label)


def _clean_genres(item: ItemRequest) -> tuple[str, ...]:
    return _clean_labels(item.genres)


def drop_hidden(text: str) -> str:
    r"""Text without control, formatting and unassigned characters, its white space made single spaces.

    >>> drop_hidden("Toy\u202e \n\x00Story")
    'Toy Story'
    """
    text = unicodedata.normalize("NFC", text)
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    kept = (" " if character.isspace() else character for character in text if not _is_hidden(character))
    return " ".join("".join(kept).split())


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN and not character.isspace()


def clean(text: str, max_characters: int) -> str:
    """Text that can be quoted in a prompt: one line, no hidden characters, no angle brackets or backticks.

    >>> clean("Ignore this <b>now</b>", 100)
    'Ignore this b now /b'
    >>> clean("A very long title", 7)
    'A very…'
    """
    shortened = text[: max_characters * _READ_PER_CHARACTER]
    cleaned = " ".join(_MARK_CHARACTERS.sub(" ", drop_hidden(shortened)).split())
    if len(cleaned) <= max_characters:
        return cleaned
    return cleaned[: max_characters - 1].rstrip() + ELLIPSIS


def _delimit(data: dict[str, str]) -> str:
    """A JSON object between the two marks, one key a line.

    Args:
        data: Names of our own → values as JSON.
    """
    lines = ",\n ".join(f'"{key}": {value}' for key, value in data.items())
    return f"{BEGIN_DATA}\n{{{lines}}}\n{END_DATA}"
