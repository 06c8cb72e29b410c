"""Requests for texts: everything that a text may be written from, the typed input of every provider."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import pandas as pd

from ur4rec.columns import DESCRIPTION, GENRE_SEPARATOR, GENRES, ITEM_ID, TITLE, YEAR

SHORT_BELOW = 6
"""Fewer choices than this are told as they are: shares, typical titles and tastes would be made up."""
NO_GENRE = frozenset({"unknown", "(no genres listed)"})
"""MovieLens says with these labels that it knows no genre; they are compared in lower case."""

_YEAR_BEHIND = re.compile(r" ?\(\d{4}\)$")
_ARTICLE_BEHIND = re.compile(
    r"^(?P<head>[^()]+), (?P<article>The|A|An|La|Le|Les|L'|Il|El|Los|Las|Das|Der|Die)(?= \(|$)"
)


@dataclass(frozen=True, slots=True)
class ItemRequest:
    """A prompt about an item may contain this much: its metadata, and nothing about any user."""

    item_id: str
    title: str
    """The title as it is spoken ("The Godfather"), or nothing if the item has only its id."""
    year: int | None = None
    genres: tuple[str, ...] = ()
    description: str = ""

    @property
    def name(self) -> str:
        """Return the title, or the id where there is none."""
        return self.title or f"Item {self.item_id}"


@dataclass(frozen=True, slots=True)
class UserRequest:
    """A prompt about a user may contain this much: the first `as_of` interactions, and nothing later."""

    user_id: str
    items: Sequence[ItemRequest]
    """The chosen items in the order of time; an item occurs as often as the user chose it."""
    timestamps_s: Sequence[int]
    """The time of each choice in `items`."""

    @property
    def as_of(self) -> int:
        """Return the number of interactions that the text is written from."""
        return len(self.items)

    @property
    def is_short(self) -> bool:
        """Return whether there are too few choices to conclude a taste from."""
        return self.as_of < SHORT_BELOW


def build_item_requests(items: pd.DataFrame) -> list[ItemRequest]:
    """Return the request of item index i at position i − 1.

    Args:
        items: The catalogue of `Sequences.items`; texts are empty and years null where they are not known.
    """
    years = (None if pd.isna(year) or year == 0 else int(year) for year in items[YEAR])
    columns = (items[ITEM_ID], items[TITLE], years, items[GENRES], items[DESCRIPTION])
    return [
        ItemRequest(
            item_id=item_id,
            title="" if title == item_id else spoken_title(title, year),
            year=year,
            genres=_split_genres(genres),
            description=" ".join(description.split()),
        )
        for item_id, title, year, genres, description in zip(*columns, strict=True)
    ]


def _split_genres(genres: str) -> tuple[str, ...]:
    labels = dict.fromkeys(label.strip() for label in genres.split(GENRE_SEPARATOR))
    return tuple(label for label in labels if label and label.lower() not in NO_GENRE)


def spoken_title(title: str, year: int | None = None) -> str:
    """Return a title with its article in front and, where the year is known from elsewhere, without a year behind.

    >>> spoken_title("Godfather, The (1972)", 1972)
    'The Godfather'
    >>> spoken_title("2001: A Space Odyssey (1968)", 1968)
    '2001: A Space Odyssey'
    """
    title = " ".join(title.split())
    if year is not None:
        title = _YEAR_BEHIND.sub("", title) or title
    return _ARTICLE_BEHIND.sub(_article_in_front, title)


def _article_in_front(match: re.Match[str]) -> str:
    article = match["article"]
    return f"{article}{match['head']}" if article.endswith("'") else f"{article} {match['head']}"


def name_decade(year: int) -> str:
    """Return the decade of a year.

    >>> name_decade(1987)
    '1980s'
    """
    return f"{year // 10 * 10}s"


def decade_of(item: ItemRequest) -> tuple[str, ...]:
    """Return the decade of an item in a tuple, which is empty where the year is not known."""
    return () if item.year is None else (name_decade(item.year),)


def rank(counts: Counter[str], most: int) -> list[tuple[str, int]]:
    """Return the most frequent names with their counts; equal counts are in alphabetical order."""
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most]


def measure_typicality(profile: Counter[str]) -> Callable[[tuple[str, ...]], float]:
    """Return a function of features (genres and decade): their cosine with a profile, times the profile's length."""

    @cache
    def measure(features: tuple[str, ...]) -> float:
        return sum(profile[name] for name in features) / math.sqrt(len(features) or 1)

    return measure
