"""What happened: one log of interactions, which every layout writes in its own way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

DAY_S = 86_400
FIRST_S = 1_500_000_000
ADJECTIVES = ("Quiet", "Golden", "Broken", "Last", "Hidden", "Crimson", "Winter", "Paper", "Silver", "Second")
NOUNS = ("River", "Café", "Harbour", "Garden", "Letter", "Mountain", "Orchard")
GENRES = ("Drama", "Comedy", "Thriller", "Romance", "Western")
COLUMNS = ["user_id", "item_id", "timestamp"]


@dataclass(frozen=True)
class Log:
    """Interactions in the order of time, and the items.

    A user never has an item twice and never two interactions on one day, so that dates order them as seconds do.
    """

    rows: pd.DataFrame
    """`user, item`: numbers from 1; `time`: seconds; `rating`: 0.5 to 5."""
    items: pd.DataFrame
    """`item, title, year, genres` (a list)."""

    def name(self, user: str = "{}", item: str = "{}") -> pd.DataFrame:
        """Returns the rows as `user_id, item_id, timestamp, rating`; ids are written by the two patterns.

        >>> make_log(num_users=1).name("u{:03d}", "i{}").user_id.unique().tolist()
        ['u001']
        """
        return pd.DataFrame(
            {
                "user_id": _write_ids(self.rows.user, user),
                "item_id": _write_ids(self.rows["item"], item),
                "timestamp": self.rows.time,
                "rating": self.rows.rating,
            }
        )

    def titles(self, item: str = "{}", title: str = "{title} ({year})") -> dict[str, str]:
        """Returns item id → title."""
        return {item.format(row.item): title.format(title=row.title, year=row.year) for row in list_rows(self.items)}


def make_log(num_users: int = 20, num_items: int = 31, longest: int = 12, seed: int = 7) -> Log:
    """Draws a log of users with 5 to `longest` interactions; `num_items` is a prime above `longest`."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(5, longest + 1, num_users)
    users = np.repeat(np.arange(num_users), lengths)
    steps = np.arange(len(users)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    first, stride = draw.integers(0, num_items, num_users), draw.integers(1, num_items, num_users)
    days = np.repeat(draw.integers(0, 300, num_users), lengths) + 3 * steps
    rows = pd.DataFrame(
        {
            "user": users + 1,
            "item": (first[users] + steps * stride[users]) % num_items + 1,
            "time": FIRST_S - FIRST_S % DAY_S + days * DAY_S + draw.integers(0, DAY_S, len(users)),
            "rating": draw.integers(1, 11, len(users)) / 2,
        }
    )
    return Log(rows.sort_values("time", kind="stable", ignore_index=True), _make_items(num_items))


def _make_items(num_items: int) -> pd.DataFrame:
    numbers = range(num_items)
    titles = [f"{ADJECTIVES[n % 10]} {NOUNS[n % 7]}" + (f" {n // 70 + 1}" if n >= 70 else "") for n in numbers]
    genres = [[GENRES[n % 5]] if n % 3 else [GENRES[n % 5], GENRES[(n + 2) % 5]] for n in numbers]
    years = [1950 + n % 60 for n in numbers]
    return pd.DataFrame({"item": [n + 1 for n in numbers], "title": titles, "year": years, "genres": genres})


def _write_ids(numbers: pd.Series[int], pattern: str) -> pd.Series[str]:
    return numbers.map({number: pattern.format(number) for number in numbers.unique()})


@dataclass(frozen=True)
class Sample:
    """Files of one layout, and what is in them."""

    path: Path
    """File or folder that the command is given."""
    expected: pd.DataFrame
    """`user_id, item_id, timestamp`; a user's rows in the order of time."""
    num_read: int
    """Interactions in the file, also those that cannot be used."""
    items: Path | None = None
    """Item table, where it is not found by itself."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """Item → title, where there is an item table."""


@dataclass(frozen=True)
class Format:
    """A layout of files and how they load."""

    name: str
    write: Callable[[Log, Path], Sample]
    """Writes the files into a folder."""
    refusal: str = ""
    """What the one line of error says, as a regular expression, where the files do not load without a decision."""
    options: tuple[str, ...] = ()
    """The decision that this line asks for; with it they load. Empty with a refusal: there is none."""


def list_rows(table: pd.DataFrame) -> Iterable[Any]:
    """Returns the rows as tuples with the names of the columns, of any type."""
    return table.itertuples()


def sample(path: Path, rows: pd.DataFrame, num_read: int | None = None, **rest: object) -> Sample:
    """Returns a sample whose file holds these rows."""
    expected = rows[COLUMNS].reset_index(drop=True)
    return Sample(path, expected, len(rows) if num_read is None else num_read, **rest)  # type: ignore[arg-type]


def number_positions(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with positions 0, 1, 2, … in each user's list for times."""
    return rows.assign(timestamp=rows.groupby("user_id").cumcount())


def floor_to_day(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with the first second of their day for times."""
    return rows.assign(timestamp=rows.timestamp - rows.timestamp % DAY_S)


def write_times(rows: pd.DataFrame, layout: str) -> pd.Series[str]:
    """Returns the times as text by a layout of `strftime`, in UTC."""
    return pd.to_datetime(rows.timestamp, unit="s").dt.strftime(layout)
