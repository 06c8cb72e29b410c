"""A digest of the data, wherever they are: other contents have another one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from ur4rec.storage.artifacts import sha256_file
from ur4rec.storage.inputs import is_cloud, list_versions


def digest_data(interactions: str, items: str = "") -> str:
    """Of the contents of files, of the names and generations of objects.

    Raises:
        DataError: A file is missing.
        GcsError: An object is missing, or cloud storage cannot be read.
    """
    return digest_versions(_list_data_versions(interactions, items))


def _list_data_versions(interactions: str, items: str) -> Iterator[str]:
    """Interactions, and the item table: the named one, else the one beside them."""
    if is_cloud(interactions):
        yield from list_versions(interactions)
        yield from list_file_versions(items) if items else ()
        return
    from ur4rec.data.input_files import find_inputs  # brings Arrow along, which takes a while to import

    is_local = items and not is_cloud(items)
    for file in find_inputs(Path(interactions), Path(items) if is_local else None).values():
        yield sha256_file(file)
    yield from list_versions(items) if is_cloud(items) else ()


def list_file_versions(location: str) -> list[str]:
    """sha256 of a file; names and generations of objects.

    Raises:
        GcsError: An object is missing, or cloud storage cannot be read.
    """
    return list_versions(location) if is_cloud(location) else [sha256_file(Path(location))]


def digest_versions(versions: Iterable[str]) -> str:
    """sha256 over all of them."""
    return hashlib.sha256("\n".join(versions).encode()).hexdigest()
