"""Readers of serials and readers of subjects: a generated data set in which one expert alone cannot serve everybody.

Half of the users read two serials in turn: what comes next is the instalment after the last but one. All instalments
have one text, so only their IDs say which they are. The other half read books from two shelves in turn: what comes next
is any book of the shelf of the last but one. There are about as many books as readings of books, so that IDs say little
and texts (subject, form and country, which make the shelf) say all that there is to know. In either case the item
before the last decides, and the last one says which audience the user belongs to.

Letters: S steps of a history.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from jaxtyping import Int64

from benchmarks.generated_data import Tables
from ur4rec.columns import GENRES, ITEM_ID, TIMESTAMP, TITLE, USER_ID

SUBJECTS = (
    *("Jazz", "Opera", "Cooking", "Gardening", "Astronomy", "Chess", "Sailing", "Mountaineering", "Botany"),
    *("Architecture", "Philosophy", "Economics", "Medicine", "Geology", "Cycling", "Fishing", "Pottery"),
    *("Photography", "Theology", "Archaeology"),
)
FORMS = (
    *("Biography", "Handbook", "Novel", "Poetry", "Essays", "Letters", "Dictionary", "Comic", "Textbook", "Memoir"),
    *("Almanac", "Drama", "Satire", "Anthology", "Guidebook", "Thriller", "Romance", "Interviews", "Lectures"),
    "Chronicle",
)
COUNTRIES = ("Brazil", "Japan")
SHELVES = tuple(product(SUBJECTS, FORMS, COUNTRIES))
AUDIENCES = ("serial", "shelf")
"""How the IDs of their users begin."""
START_S, MONTH_S, HOUR_S = 1_500_000_000, 31 * 86_400, 3_600


@dataclass(frozen=True)
class Settings:
    """Sizes of the data set."""

    num_users: int = 1_200
    """Of both audiences together, half each."""
    num_serials: int = 25
    num_instalments: int = 20
    """Of a serial; the first comes after the last."""
    books_per_shelf: int = 12
    length: tuple[int, int] = (12, 18)
    """Fewest and most items of a history."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks that nobody reads anything twice."""
        assert 4 <= self.length[0] <= self.length[1]
        assert self.length[1] <= 2 * min(self.num_instalments, self.books_per_shelf)


def generate(settings: Settings) -> Tables:
    """The data set of these settings; the same ones give the same rows."""
    generator = np.random.default_rng(settings.seed)
    rows: list[tuple[str, str, int]] = []
    for user in range(settings.num_users):
        audience = AUDIENCES[user % 2]
        steps = np.arange(generator.integers(settings.length[0], settings.length[1] + 1))
        draw = _read_serials if audience == "serial" else _read_shelves
        start = START_S + int(generator.integers(MONTH_S))
        name = f"{audience}-{user:05d}"
        rows += [(name, item, start + HOUR_S * step) for step, item in enumerate(draw(generator, settings, steps))]
    return Tables(pd.DataFrame(rows, columns=[USER_ID, ITEM_ID, TIMESTAMP]), _describe_items(settings))


def _read_serials(generator: np.random.Generator, settings: Settings, steps: Int64[np.ndarray, "S"]) -> list[str]:
    serials = generator.choice(settings.num_serials, 2, replace=False)[steps % 2]
    begun = generator.integers(settings.num_instalments, size=2)[steps % 2]
    instalments = (begun + steps // 2) % settings.num_instalments
    return [f"serial-{serial}-{instalment}" for serial, instalment in zip(serials, instalments, strict=True)]


def _read_shelves(generator: np.random.Generator, settings: Settings, steps: Int64[np.ndarray, "S"]) -> list[str]:
    shelves = generator.choice(len(SHELVES), 2, replace=False)[steps % 2]
    books = np.stack([generator.permutation(settings.books_per_shelf) for _ in range(2)])[steps % 2, steps // 2]
    return [f"book-{shelf}-{book}" for shelf, book in zip(shelves, books, strict=True)]


def _describe_items(settings: Settings) -> pd.DataFrame:
    serials = product(range(settings.num_serials), range(settings.num_instalments))
    books = product(enumerate(SHELVES), range(settings.books_per_shelf))
    rows = [(f"serial-{serial}-{instalment}", "Instalment", "Serial") for serial, instalment in serials]
    rows += [(f"book-{shelf}-{book}", "Book", "|".join(labels)) for (shelf, labels), book in books]
    return pd.DataFrame(rows, columns=[ITEM_ID, TITLE, GENRES])
