"""Small files of the formats, and reading them."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from ur4rec.data.tables import ReadOptions, Table, read_table

REQUIRED = ("user_id", "item_id", "timestamp")
CSV = "user_id,item_id,timestamp,rating\n1,9,100,4.5\n1,7,200,3\n2,9,150,5\n"
ROWS = {"user_id": ["1", "1", "2"], "item_id": ["9", "7", "9"], "timestamp": ["100", "200", "150"]}
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda content: bytes(pa.Codec("zstd").compress(content, asbytes=True)),
    "lz4": lambda content: bytes(pa.Codec("lz4").compress(content, asbytes=True)),
}


def read(path: Path, content: str | bytes, **options: Any) -> Table:
    """Write a file of interactions and read it."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, REQUIRED, ("rating",), ReadOptions(**options))


def read_items(path: Path, content: str | bytes, **options: Any) -> Table:
    """Write an item table and read it."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, ("item_id", "title"), ("year", "genres", "description"), ReadOptions(**options))
