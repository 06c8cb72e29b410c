"""Input files, here or in cloud storage: a caller need not know which."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ur4rec.storage.gcs import GcsPrefix, StoredObject

CLOUD_SCHEME = "gs://"


def is_cloud(location: str | Path) -> bool:
    """Whether a location is in cloud storage."""
    return str(location).startswith(CLOUD_SCHEME)


@contextmanager
def local_copy(location: str | Path) -> Iterator[Path]:
    """A path with the contents of a location; a copy of what is in cloud storage, gone after the block.

    Args:
        location: A file or folder, or the `gs://bucket/…` of an object or of a prefix.

    Raises:
        GcsError: Nothing is there, or it cannot be read.
    """
    if not is_cloud(location):
        yield Path(location)
        return
    with (
        tempfile.TemporaryDirectory(prefix="ur4rec-input-") as folder,
        _opened(str(location)) as (prefix, objects, name),
    ):
        prefix.download(objects, Path(folder))
        yield Path(folder, name) if name else Path(folder)


def list_versions(location: str) -> list[str]:
    """Name and generation of every object at a location in cloud storage: other contents have another generation.

    Raises:
        GcsError: Nothing is there, or it cannot be listed.
    """
    with _opened(location) as (_, objects, _):
        return [f"{stored.name}#{stored.generation}" for stored in objects]


@contextmanager
def _opened(location: str) -> Iterator[tuple[GcsPrefix, list[StoredObject], str]]:
    """The prefix, the objects that are meant, and the name of the one where the location is an object."""
    from ur4rec.storage.gcs import GcsError, GcsLocation, GcsPrefix  # its client takes a second to import

    where = GcsLocation.parse(location)
    folder, _, name = where.prefix.rpartition("/")
    for place, chosen in ((where, ""), (GcsLocation(where.bucket, folder), name)):
        prefix = GcsPrefix(place)
        try:
            objects = [stored for stored in prefix.list_objects() if chosen in ("", stored.name)]
            if objects:
                yield prefix, objects, chosen
                return
        finally:
            prefix.close()
    raise GcsError(f"{location}: nothing is there; expected an object, or a prefix with objects below it")
