"""A category of Amazon Reviews 2023 as it is published."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ur4rec.data.amazon import CATEGORIES, describe_category, list_names
from ur4rec.data.config import DataConfig
from ur4rec.data.errors import SourceError
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import load_sequences
from ur4rec.data.sources import fetch_dataset

RATINGS = (
    "user_id,parent_asin,rating,timestamp\nAE22,B01,5.0,1588687728923\nAE22,B02,4.0,1588687728000\n"
    "AE22,B03,1.0,1588687729001\nAFKZ,B01,3.0,1588687728923\n"
)
ABOUT: tuple[dict[str, Any], ...] = (
    {
        "main_category": "All Beauty",
        "title": "Howard &amp; Co",
        "average_rating": 4.8,
        "features": ["not read"],
        "description": ["Great stuff.", "And more."],
        "images": [{"thumb": "https://a/b.jpg", "variant": "MAIN"}],
        "categories": ["Beauty & Personal Care", "Hair Care"],
        "details": {"Brand": "Howard", "UPC": "6"},
        "parent_asin": "B01",
    },
    {
        "main_category": "All Beauty",
        "title": None,
        "features": [],
        "description": [],
        "categories": [],
        "details": {"Size": {"nested": True}},
        "parent_asin": "B02",
    },
    {"main_category": None, "title": "Unrated", "description": [], "categories": [], "parent_asin": "B09"},
    {"main_category": None, "title": "Third", "parent_asin": "B03", "bought_together": None},
)


def publish(folder: Path, ratings: str = RATINGS, packed: bool = True) -> Path:
    about = "".join(json.dumps(item) + "\n" for item in ABOUT)
    for name, content in (("All_Beauty.csv", ratings), ("meta_All_Beauty.jsonl", about)):
        path = folder / (f"{name}.gz" if packed else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    return folder


def test_addresses() -> None:
    dataset = describe_category("amazon-2023/All_Beauty")
    assert dataset.urls == (
        "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/benchmark/5core/rating_only/All_Beauty.csv.gz",
        "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw/meta_categories/meta_All_Beauty.jsonl.gz",
    )
    assert "/benchmark/0core/" in describe_category("amazon-2023-0core/Books").urls[0]
    assert len(set(CATEGORIES)) == 34
    assert len(list_names()) == 68


@pytest.mark.parametrize("packed", [True, False])
def test_ratings_and_titles_become_a_pair(packed: bool, tmp_path: Path) -> None:
    source = publish(tmp_path / "given", packed=packed)
    folder = fetch_dataset(describe_category("amazon-2023/All_Beauty"), source, tmp_path / "cache")
    assert folder == tmp_path / "cache" / "amazon-2023" / "All_Beauty"
    rows = pd.read_csv(folder / "interactions.csv", dtype=str)
    assert rows.columns.tolist() == ["user_id", "item_id", "timestamp", "rating"]
    assert rows["item_id"].tolist() == ["B01", "B02", "B03", "B01"]
    assert rows["timestamp"].astype(float).tolist() == [1588687728.923, 1588687728, 1588687729.001, 1588687728.923]
    items = pd.read_csv(folder / "items.csv", keep_default_na=False)
    assert items.to_numpy().tolist() == [
        ["B01", "Howard &amp; Co", "Beauty & Personal Care|Hair Care", "Great stuff. And more."],
        ["B02", "", "All Beauty", ""],
        ["B03", "Third", "", ""],
    ]


def test_a_fetched_category_goes_into_preprocessing(tmp_path: Path) -> None:
    source = publish(tmp_path / "given")
    folder = fetch_dataset(describe_category("amazon-2023/All_Beauty"), source, tmp_path / "cache")
    preprocess_sequences(folder, tmp_path / "sequences", DataConfig())
    data = load_sequences(tmp_path / "sequences")
    assert (data.num_users, data.num_items) == (1, 3)
    assert data.items["title"].tolist() == ["Howard & Co", "B02", "Third"]
    assert data.test[0, 2] == 1588687729


def test_another_format_is_named(tmp_path: Path) -> None:
    source = publish(tmp_path / "given", ratings="user,item\na,b\n")
    with pytest.raises(SourceError, match=r"All_Beauty\.csv, meta_All_Beauty\.jsonl are not in the published format"):
        fetch_dataset(describe_category("amazon-2023/All_Beauty"), source, tmp_path / "cache")
