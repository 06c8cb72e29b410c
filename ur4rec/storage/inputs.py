"""Input files, here or in cloud storage: a caller need not know which."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ur4rec.storage.origins import named
from ur4rec.storage.temporaries import scratch_folder

CLOUD_SCHEME = "gs://"
SHOWN_NAMES = 5
"""Of what is there instead, in a message."""


def is_cloud(location: str | Path) -> bool:
    """Whether a location is in cloud storage."""
    return str(location).startswith(CLOUD_SCHEME)


@contextmanager
def local_copy(location: str | Path) -> Iterator[Path]:
    """A path with the contents of a location; a copy of what is in cloud storage, gone after the block.

    Errors of the block name the location, not the copy.

    Args:
        location: A file or folder, or the `gs://bucket/…` of an object, of a published folder or of a prefix. A folder
            with a manifest comes whole, from any other prefix the objects directly below it.

    Raises:
        ArtifactError: A file of a published folder is missing or altered.
        GcsError: Nothing is there, or it cannot be read.
    """
    if not is_cloud(location):
        yield Path(location)
        return
    from ur4rec.storage.cloud_inputs import copy_cloud  # its client takes a second to import

    with scratch_folder("input") as scratch:
        folder, place = scratch / "input", str(location).rstrip("/")
        copied = copy_cloud(place, folder, deep=False)
        with named(folder, place if copied == folder else place.rpartition("/")[0]):
            yield copied


def copy_location(location: str | Path, folder: Path) -> Path:
    """Copies all that is at a location, sub-folders included, into an empty folder; verifies what has digests.

    Args:
        location: A file or folder, or the `gs://bucket/…` of an object, of a published folder or of a prefix.
        folder: Where to.

    Returns:
        The folder; for a single file, the copy in it.

    Raises:
        ArtifactError: A file is missing or altered.
        GcsError: Nothing is there, or it cannot be read.
    """
    if is_cloud(location):
        from ur4rec.storage.cloud_inputs import copy_cloud  # its client takes a second to import

        return copy_cloud(str(location), folder, deep=True)
    if Path(location).is_file():
        return Path(shutil.copy(location, folder))
    from ur4rec.storage.artifacts import MANIFEST, read_artifact  # the command line imports this module for its help

    shutil.copytree(location, folder, dirs_exist_ok=True)
    if (folder / MANIFEST).is_file():
        with named(folder, str(location)):
            read_artifact(folder)
    return folder


def list_versions(location: str) -> list[str]:
    """Name and generation of every object at a location in cloud storage: other contents have another generation.

    Raises:
        GcsError: Nothing is there, or it cannot be listed.
    """
    from ur4rec.storage.cloud_inputs import open_objects

    with open_objects(location) as found:
        return [f"{stored.name}#{stored.generation}" for stored in found.objects]


def list_some(names: Iterable[str]) -> str:
    """The first few of some names.

    >>> list_some("abcdefg"), list_some([])
    ('a, b, c, d, e and 2 more', 'nothing')
    """
    listed = list(names)
    rest = f" and {len(listed) - SHOWN_NAMES:,} more" if len(listed) > SHOWN_NAMES else ""
    return f"{', '.join(listed[:SHOWN_NAMES])}{rest}" or "nothing"
