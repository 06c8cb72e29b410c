"""What a prompt says of a user or an item: chosen, counted and cleaned, a function of the request alone."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

from ur4rec.text.llm.untrusted import clean
from ur4rec.text.requests import ItemRequest, UserRequest, decade_of, measure_typicality, name_decade, rank

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


def describe_item(item: ItemRequest) -> dict[str, object]:
    """Title, year, genres and description of an item; what is not known is left out."""
    described: dict[str, object] = {"title": _title(item)}
    if item.year is not None:
        described["year"] = item.year
    if genres := _clean_genres(item):
        described["genres"] = genres
    if description := clean(item.description, MAX_DESCRIPTION):
        described["description"] = description
    return described


def describe_user(request: UserRequest) -> dict[str, object]:
    """Counts over everything that the request holds, and at most 40 of its items by name.

    An item that was chosen repeatedly stands where it was chosen last. Up to 40 items are all named; of more,
    the first 5, the latest 20 and, of those between, the 15 closest to the profile (cosine over genres and
    decade; of equals the earliest), each group in the order of time. Ids and dates are not in it.
    """
    genres: Counter[str] = Counter()
    for labels, count in Counter(item.genres for item in request.items).items():
        for label in _distinct_labels(labels):
            genres[label] += count
    decades: Counter[str] = Counter()
    for year, count in Counter(item.year for item in request.items if item.year is not None).items():
        decades[name_decade(year)] += count
    described: dict[str, object] = {"number_of_choices": request.as_of}
    if genres:
        described["choices_by_genre"] = dict(rank(genres, MAX_COUNTED))
    if decades:
        described["choices_by_decade"] = dict(rank(decades, MAX_COUNTED))
    return described | _name_choices(request.items, genres, decades)


def _name_choices(items: Sequence[ItemRequest], genres: Counter[str], decades: Counter[str]) -> dict[str, object]:
    distinct = list({item.item_id: item for item in reversed(items)}.values())[::-1]
    if len(distinct) <= MAX_CHOICES:
        return {"choices_oldest_first": _name(distinct)}
    first, between, latest = distinct[:NUM_FIRST], distinct[NUM_FIRST:-NUM_LATEST], distinct[-NUM_LATEST:]
    return {
        "first_choices": _name(first),
        "most_typical_choices": _name(_find_typical(between, genres + decades)),
        "latest_choices_newest_last": _name(latest),
    }


def _find_typical(items: Sequence[ItemRequest], profile: Counter[str]) -> list[ItemRequest]:
    measure = measure_typicality(profile)
    scores = [measure(_find_features(item)) for item in items]
    return [items[position] for position in sorted(heapq.nlargest(NUM_TYPICAL, range(len(items)), scores.__getitem__))]


def _name(items: Iterable[ItemRequest]) -> list[str]:
    """One line an item: title, year, genres."""
    return [_name_item(item) for item in items]


@lru_cache(maxsize=1 << 16)
def _name_item(item: ItemRequest) -> str:
    year = f" ({item.year})" if item.year is not None else ""
    genres = _clean_genres(item)
    return f"{_title(item)}{year}" + (f": {', '.join(genres)}" if genres else "")


def _title(item: ItemRequest) -> str:
    """Title, or what stands for it where nothing readable is left of it."""
    return clean(item.title, MAX_TITLE) or f"Item {clean(item.item_id, MAX_GENRE)}"


def _clean_genres(item: ItemRequest) -> tuple[str, ...]:
    return _clean_labels(item.genres)


@lru_cache(maxsize=4096)
def _clean_labels(labels: tuple[str, ...]) -> tuple[str, ...]:
    cleaned = (clean(label, MAX_GENRE) for label in labels[:MAX_GENRES])
    return tuple(label for label in cleaned if label)


@lru_cache(maxsize=4096)
def _distinct_labels(labels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_clean_labels(labels)))


@lru_cache(maxsize=1 << 16)
def _find_features(item: ItemRequest) -> tuple[str, ...]:
    return _clean_genres(item) + decade_of(item)
