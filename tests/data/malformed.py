"""Input files with something wrong, and preprocessing them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.storage.artifacts import Manifest

HEADER = "user_id,item_id,timestamp\n"

GOOD = "u,a,1\nu,b,2\nu,c,3\nu,d,4\n"
"""Lines 2 to 5 of a file: one user with four interactions."""


def preprocess(
    folder: Path, interactions: str | bytes, items: str | bytes | None = None, suffix: str = ".csv", **config: object
) -> Manifest:
    path = folder / f"interactions{suffix}"
    path.write_bytes(interactions if isinstance(interactions, bytes) else interactions.encode())
    if items is not None:
        (folder / "items.csv").write_bytes(items if isinstance(items, bytes) else items.encode())
    table = None if items is None else folder / "items.csv"
    return preprocess_sequences(path, folder / "sequences", DataConfig.parse(config), table)


@dataclass(frozen=True)
class Row:
    """A malformed row at line 4 of a file (after a good one and a blank line): an error, or a counted exclusion."""

    name: str
    row: str
    message: str
    """After `line 4, `."""
    reason: str
    header: str = HEADER


RATED = "user_id,item_id,timestamp,rating\n"


def write_parquet(path: Path, **changes: object) -> Path:
    columns: dict[str, object] = {"user_id": [1, 1, 1, 1], "item_id": [10, 9, 8, 7], "timestamp": [1, 2, 3, 4]}
    pd.DataFrame(columns | changes).to_parquet(path)
    return path
