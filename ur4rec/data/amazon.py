"""Amazon Reviews 2023, a category at a time: who rated what, and what the items are called."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, json

from ur4rec.columns import DESCRIPTION, GENRE_SEPARATOR, GENRES, ITEM_ID, RATING, TIMESTAMP, TITLE, USER_ID
from ur4rec.data.published import INTERACTIONS_CSV, ITEMS_CSV, Dataset, Files, Layout, rewrite_ratings

ADDRESS = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023"
EDITIONS = {"amazon-2023": "5core", "amazon-2023-0core": "0core"}
"""The first part of a name → users and items with at least five ratings, or all of them."""
CATEGORIES = (
    *("All_Beauty", "Amazon_Fashion", "Appliances", "Arts_Crafts_and_Sewing", "Automotive", "Baby_Products"),
    *("Beauty_and_Personal_Care", "Books", "CDs_and_Vinyl", "Cell_Phones_and_Accessories"),
    *("Clothing_Shoes_and_Jewelry", "Digital_Music", "Electronics", "Gift_Cards", "Grocery_and_Gourmet_Food"),
    *("Handmade_Products", "Health_and_Household", "Health_and_Personal_Care", "Home_and_Kitchen"),
    *("Industrial_and_Scientific", "Kindle_Store", "Magazine_Subscriptions", "Movies_and_TV", "Musical_Instruments"),
    *("Office_Products", "Patio_Lawn_and_Garden", "Pet_Supplies", "Software", "Sports_and_Outdoors"),
    *("Subscription_Boxes", "Tools_and_Home_Improvement", "Toys_and_Games", "Video_Games", "Unknown"),
)
RATING_COLUMNS = {USER_ID: "user_id", ITEM_ID: "parent_asin", TIMESTAMP: "timestamp", RATING: "rating"}
MILLISECONDS = 1000
MAX_DOWNLOAD_BYTES = 1 << 33
MAX_UNPACKED_BYTES = 1 << 36
MAX_LINE_BYTES = 1 << 24
_TEXTS = pa.list_(pa.string())
_ABOUT = pa.schema(
    [
        ("parent_asin", pa.string()),
        ("title", pa.string()),
        ("main_category", pa.string()),
        ("categories", _TEXTS),
        ("description", _TEXTS),
    ]
)
"""These fields are read of an item; pictures, videos and the rest are not."""


def list_names() -> tuple[str, ...]:
    """Return the names of all categories in both editions, as `amazon-2023/All_Beauty`."""
    return tuple(f"{edition}/{category}" for edition in EDITIONS for category in CATEGORIES)


def describe_category(name: str, address: str = ADDRESS) -> Dataset:
    """Return where a category is, by its name; no digests are published."""
    edition, category = name.split("/")
    ratings, items = f"{category}.csv", f"meta_{category}.jsonl"
    return Dataset(
        name=name,
        urls=(
            f"{address}/benchmark/{EDITIONS[edition]}/rating_only/{ratings}.gz",
            f"{address}/raw/meta_categories/{items}.gz",
        ),
        layouts=(Layout((ratings, items), partial(_convert, ratings=ratings, items=items)),),
        max_download_bytes=MAX_DOWNLOAD_BYTES,
        max_file_bytes=MAX_UNPACKED_BYTES,
    )


def _convert(files: Files, folder: Path, ratings: str, items: str) -> None:
    """Convert the ratings, whose times are milliseconds, and what is said of the items that were rated."""
    with files[ratings].open() as raw:
        rewrite_ratings(raw, folder, RATING_COLUMNS, per_second=MILLISECONDS)
    with files[items].open() as raw:
        _write_items(raw, folder, _list_items(folder / INTERACTIONS_CSV))


def _list_items(interactions: Path) -> pa.Array:
    kinds = {ITEM_ID: pa.dictionary(pa.int32(), pa.string())}
    table = csv.read_csv(
        interactions, convert_options=csv.ConvertOptions(column_types=kinds, include_columns=[ITEM_ID])
    )
    return table[ITEM_ID].unify_dictionaries().unique().cast(pa.string())


def _write_items(raw: BinaryIO, folder: Path, rated: pa.Array) -> None:
    lines = json.open_json(
        raw,
        json.ReadOptions(block_size=MAX_LINE_BYTES),
        json.ParseOptions(explicit_schema=_ABOUT, unexpected_field_behavior="ignore"),
    )
    schema = pa.schema([(name, pa.string()) for name in (ITEM_ID, TITLE, GENRES, DESCRIPTION)])
    with csv.CSVWriter(folder / ITEMS_CSV, schema) as writer:
        for batch in lines:
            chosen = batch.filter(pc.is_in(batch["parent_asin"], rated))
            genres = pc.binary_join(chosen["categories"], GENRE_SEPARATOR)
            known = pc.fill_null(pc.greater(pc.utf8_length(genres), 0), False)
            columns = [
                chosen["parent_asin"],
                chosen["title"],
                pc.if_else(known, genres, chosen["main_category"]),
                pc.binary_join(chosen["description"], " "),
            ]
            writer.write_batch(pa.record_batch([column.fill_null("") for column in columns], schema=schema))
