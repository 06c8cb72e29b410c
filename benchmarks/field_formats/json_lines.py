"""Reviews and items with one record a line: Amazon 2014, 2018 and 2023, Steam, Yelp, Goodreads."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.field_formats.log import Format, Log, Sample, floor_to_day, list_rows, sample, write_times

Record = dict[str, Any]


def write_lines(path: Path, records: Iterable[Record], line: Callable[[Record], str] = json.dumps) -> Path:
    """Writes one record a line, compressed where the name ends in `.gz`."""
    text = "".join(f"{line(record)}\n" for record in records).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def write_literal(record: Record) -> str:
    """Returns a record as Python 2 printed it, with `u` before its texts."""
    return "{" + ", ".join(f"u{key!r}: {'u' * isinstance(value, str)}{value!r}" for key, value in record.items()) + "}"


AMAZON = ("A{:013d}", "B{:09d}")


def write_amazon_2014(log: Log, folder: Path, ending: str = "") -> Sample:
    """Reviews of the 5-core files, whose times are whole days, and metadata as literals of Python."""
    rows = floor_to_day(log.name(*AMAZON))
    reviews = (
        {
            "reviewerID": row.user_id,
            "asin": row.item_id,
            "reviewerName": "A. Reader",
            "helpful": [0, 1],
            "reviewText": 'Said "fine", \\ and went.',
            "overall": row.rating,
            "summary": "Fine",
            "unixReviewTime": row.timestamp,
            "reviewTime": pd.to_datetime(row.timestamp, unit="s").strftime("%m %d, %Y"),
        }
        for row in list_rows(rows)
    )
    path = write_lines(folder / f"reviews_Musical_Instruments_5.json{ending}", reviews)
    items = (
        {
            "asin": AMAZON[1].format(row.item),
            "title": row.title,
            "price": 9.99,
            "salesRank": {"Musical Instruments": 7},
            "related": {"also_bought": ["B000000001"]},
            "categories": [["Musical Instruments", *row.genres]],
        }
        for row in list_rows(log.items)
    )
    table = write_lines(folder / f"meta_Musical_Instruments.json{ending}", items, repr)
    return sample(path, rows, items=table, titles=log.titles(AMAZON[1], "{title}"))


def write_amazon_2014_gz(log: Log, folder: Path) -> Sample:
    """The same files as they are downloaded."""
    return write_amazon_2014(log, folder, ".gz")


def write_amazon_2018(log: Log, folder: Path) -> Sample:
    """Reviews without a rating of whole columns: `vote`, `style` and `image` are in some lines only."""
    rows = floor_to_day(log.name(*AMAZON))
    reviews = (
        {"overall": row.rating, "verified": True, "reviewTime": "07 14, 2017", "reviewerID": row.user_id}
        | {"asin": row.item_id, "reviewText": "Fine", "summary": "Fine", "unixReviewTime": row.timestamp}
        | ({"style": {"Format:": " Hardcover"}, "vote": "2"} if position % 3 == 0 else {})
        for position, row in enumerate(list_rows(rows))
    )
    path = write_lines(folder / "Luxury_Beauty_5.json.gz", reviews)
    items = (
        {
            "category": ["Luxury Beauty", *row.genres],
            "tech1": "",
            "description": ["First part.", "Second part."],
            "title": row.title,
            "brand": "B",
            "feature": [],
            "rank": "7 in Beauty",
            "main_cat": "Luxury Beauty",
            "asin": AMAZON[1].format(row.item),
        }
        for row in list_rows(log.items)
    )
    table = write_lines(folder / "meta_Luxury_Beauty.json.gz", items)
    return sample(path, rows, items=table, titles=log.titles(AMAZON[1], "{title}"))


def write_amazon_2023(log: Log, folder: Path) -> Sample:
    """Reviews with times in milliseconds; a review has a `title` of its own, and `asin` differs from `parent_asin`."""
    rows = log.name(*AMAZON)
    reviews = (
        {
            "rating": row.rating,
            "title": "Five stars",
            "text": "Fine",
            "images": [],
            "asin": f"V{position:09d}",
            "parent_asin": row.item_id,
            "user_id": row.user_id,
            "timestamp": row.timestamp * 1000 + 728,
            "helpful_vote": 0,
            "verified_purchase": True,
        }
        for position, row in enumerate(list_rows(rows))
    )
    path = write_lines(folder / "All_Beauty.jsonl", reviews)
    items = (
        {
            "main_category": "All Beauty",
            "title": row.title,
            "average_rating": 4.8,
            "rating_number": 10,
            "features": [],
            "description": ["Text."],
            "price": None,
            "images": [{"thumb": "https://example.com/a.jpg", "variant": "MAIN"}],
            "videos": [],
            "store": "S",
            "categories": row.genres,
            "details": {"Brand": "B"},
            "parent_asin": AMAZON[1].format(row.item),
            "bought_together": None,
        }
        for row in list_rows(log.items)
    )
    table = write_lines(folder / "meta_All_Beauty.jsonl", items)
    return sample(path, rows, items=table, titles=log.titles(AMAZON[1], "{title}"))


def write_steam(log: Log, folder: Path) -> Sample:
    """Reviews and games as literals of Python 2; times are dates."""
    rows = floor_to_day(log.name("player{}"))
    dates = write_times(rows, "%Y-%m-%d")
    reviews = (
        {"username": row.user_id, "hours": 0.1, "products": 41, "product_id": row.item_id, "page_order": 0}
        | {"date": date, "text": "it's fun", "early_access": False, "page": 1}
        for row, date in zip(list_rows(rows), dates, strict=True)
    )
    path = write_lines(folder / "steam_reviews.json", reviews, write_literal)
    items = (
        {"publisher": "P", "genres": row.genres, "app_name": row.title, "title": row.title, "id": str(row.item)}
        | {"url": f"http://store.steampowered.com/app/{row.item}/", "release_date": f"{row.year}-01-04", "price": 4.99}
        for row in list_rows(log.items)
    )
    table = write_lines(folder / "steam_games.json", items, write_literal)
    return sample(path, rows, items=table, titles=log.titles(title="{title}"))


def write_yelp(log: Log, folder: Path) -> Sample:
    """Reviews and businesses, whose categories are one text."""
    rows = log.name("u{:021d}", "b{:021d}")
    dates = write_times(rows, "%Y-%m-%d %H:%M:%S")
    reviews = (
        {"review_id": f"r{position}", "user_id": row.user_id, "business_id": row.item_id, "stars": row.rating}
        | {"useful": 0, "funny": 0, "cool": 0, "text": "Good\nfood", "date": date}
        for position, (row, date) in enumerate(zip(list_rows(rows), dates, strict=True))
    )
    path = write_lines(folder / "yelp_academic_dataset_review.json", reviews)
    items = (
        {"business_id": f"b{row.item:021d}", "name": row.title, "address": "1 Road", "city": "Reno", "stars": 4.5}
        | {
            "is_open": 1,
            "attributes": {"ByAppointmentOnly": "True"},
            "categories": ", ".join(row.genres),
            "hours": None,
        }
        for row in list_rows(log.items)
    )
    table = write_lines(folder / "yelp_academic_dataset_business.json", items)
    return sample(path, rows, items=table, titles=log.titles("b{:021d}", "{title}"))


def write_goodreads(log: Log, folder: Path) -> Sample:
    """Interactions with four times of day in the words of `date`, and books, whose year may be empty."""
    rows = log.name("{:032x}")
    added = write_times(rows.assign(timestamp=rows.timestamp - 7 * 3600), "%a %b %d %H:%M:%S -0700 %Y")
    shelved = (
        {"user_id": row.user_id, "book_id": row.item_id, "review_id": f"r{position}", "is_read": True}
        | {"rating": int(row.rating), "review_text_incomplete": "", "date_added": date, "date_updated": date}
        | {"read_at": "", "started_at": ""}
        for position, (row, date) in enumerate(zip(list_rows(rows), added, strict=True))
    )
    path = write_lines(folder / "goodreads_interactions_poetry.json.gz", shelved)
    items = (
        {"isbn": "", "text_reviews_count": "1", "series": [], "language_code": "eng", "description": "A book."}
        | {"book_id": str(row.item), "title": row.title, "title_without_series": row.title}
        | {"publication_year": "" if row.item == 1 else str(row.year), "popular_shelves": [{"count": "1", "name": "a"}]}
        for row in list_rows(log.items)
    )
    table = write_lines(folder / "goodreads_books_poetry.json.gz", items)
    return sample(path, rows, items=table, titles=log.titles(title="{title}"))


FORMATS = [
    Format("Amazon 2014, JSON lines", write_amazon_2014),
    Format("Amazon 2014, JSON lines .gz", write_amazon_2014_gz),
    Format("Amazon 2018, JSON lines .gz", write_amazon_2018),
    Format("Amazon 2023, JSON lines", write_amazon_2023),
    Format("Steam, Python literals", write_steam),
    Format("Yelp, JSON lines", write_yelp),
    Format("Goodreads, JSON lines .gz", write_goodreads),
]
