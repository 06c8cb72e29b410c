"""What a text may be written from: the typed input of every provider."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import pandas as pd

from ur4rec.columns import DESCRIPTION, GENRE_SEPARATOR, GENRES, ITEM_ID, TITLE, YEAR

NO_GENRE = frozenset({"unknown", "(no genres listed)"})
"""Labels by which MovieLens says that it knows none (compared in lower case)."""

_YEAR_BEHIND = re.compile(r" ?\(\d{4}\)$")
_ARTICLE_BEHIND = re.compile(
    r"^(?P<head>[^()]+), (?P<article>The|A|An|La|Le|Les|L'|Il|El|Los|Las|Das|Der|Die)(?= \(|$)"
)


@dataclass(frozen=True, slots=True)
class ItemRequest:
    """Everything that a prompt about an item may contain: its metadata, nothing of any user."""

    item_id: str
    title: str
    """Title as it is spoken ("The Godfather"); empty if there is none but the id."""
    year: int | None = None
    genres: tuple[str, ...] = ()
    description: str = ""

    @property
    def name(self) -> str:
        """Title, or the id where there is none."""
        return self.title or f"Item {self.item_id}"


@dataclass(frozen=True, slots=True)
class UserRequest:
    """Everything that a prompt about a user may contain: the first `as_of` interactions, nothing later."""

    user_id: str
    items: Sequence[ItemRequest]
    """Chronological; an item occurs as often as the user chose it."""
    timestamps_s: Sequence[int]
    """Beside `items`."""

    @property
    def as_of(self) -> int:
        """Number of interactions that the text is written from."""
        return len(self.items)


def build_item_requests(items: pd.DataFrame) -> list[ItemRequest]:
    """One request an item, in the order of the table; list position i is item index i + 1.

    Args:
        items: The catalogue of `Sequences.items`; texts are empty and years null where they are not known.
    """
    years = (None if pd.isna(year) else int(year) for year in items[YEAR])
    columns = (items[ITEM_ID], items[TITLE], years, items[GENRES], items[DESCRIPTION])
    return [_build_item_request(*row) for row in zip(*columns, strict=True)]


def _build_item_request(item_id: str, title: str, year: int | None, genres: str, description: str) -> ItemRequest:
    labels = dict.fromkeys(label.strip() for label in genres.split(GENRE_SEPARATOR))
    return ItemRequest(
        item_id=item_id,
        title="" if title == item_id else spoken_title(title, year),
        year=year,
        genres=tuple(label for label in labels if label and label.lower() not in NO_GENRE),
        description=" ".join(description.split()),
    )


def spoken_title(title: str, year: int | None = None) -> str:
    """A title with its article in front and, where the year is known apart from it, without one behind.

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
