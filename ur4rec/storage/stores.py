"""The stores that there are: how an address reads, and the one place that opens a store.

A further store is a module beside `gcs.py`, with a class of the methods of `ObjectStore`, and its line in `STORES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ur4rec.storage.gcs import GcsStore
from ur4rec.storage.objects import Location, ObjectStore, StoreError


def _open_s3(location: Location) -> ObjectStore:
    from ur4rec.storage.s3 import S3Store  # its client takes half a second to import

    return S3Store(location)


STORES: dict[str, Callable[[Location], ObjectStore]] = {
    "gs": GcsStore,
    "s3": _open_s3,
    "minio": _open_s3,
}
"""Scheme of an address → what opens the store; none imports its client before that."""
ADDRESS = re.compile(rf"({'|'.join(STORES)})://([a-z0-9][a-z0-9._-]{{1,220}}[a-z0-9])((?:/[^/\x00-\x1f]+)*)/?")


def is_cloud(location: str | Path) -> bool:
    """Return whether a location is in cloud storage, not a path."""
    return str(location).startswith(tuple(f"{scheme}://" for scheme in STORES))


def parse_location(address: str) -> Location:
    """Read `gs://bucket`, `s3://bucket` or `minio://bucket`, with a prefix or without; a slash at the end is ignored.

    Raises:
        StoreError: The text is none of these.
    """
    match = ADDRESS.fullmatch(address)
    if match is None or {".", ".."} & set(match[3].split("/")):
        expected = " or ".join(f"{scheme}://bucket/prefix" for scheme in STORES)
        raise StoreError(f"{address!r} is no location in cloud storage; expected {expected}")
    return Location(match[1], match[2], match[3].lstrip("/"))


def open_store(location: str | Location) -> ObjectStore:
    """Open the store that a location is in.

    Raises:
        StoreError: The text is no location, or there are no credentials.
    """
    where = parse_location(location) if isinstance(location, str) else location
    return STORES[where.scheme](where)
