"""Input files, here or in cloud storage: a caller need not know which.

A location is a path, or the address of an object, of a published folder, of an artifact folder or of a prefix.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ur4rec.progress import show_progress
from ur4rec.storage.artifacts import MANIFEST, read_artifact, sha256_file
from ur4rec.storage.cloud_folders import fetch_published, find_current
from ur4rec.storage.objects import Location, ObjectStore, StoredObject, StoreError
from ur4rec.storage.stores import is_cloud, open_store, parse_location
from ur4rec.storage.temporaries import scratch_folder
from ur4rec.storage.writing import named

SHOWN_NAMES = 5
"""How many names of what is there instead a message tells."""
MOST_LISTINGS = 5


class ChangedInputError(ValueError):
    """An input that is no longer what it was when the run began."""


@contextmanager
def local_copy(location: str | Path) -> Iterator[Path]:
    """Open a path with the contents of a location; a copy of what is in cloud storage is gone after the block.

    Errors of the block name the location, not the copy. A folder with a manifest comes whole, and so does one with
    folders `key=value`. From any other prefix come the objects directly below it.

    Raises:
        ArtifactError: A file of a published folder is missing or altered.
        StoreError: Nothing is there, or it cannot be read.
    """
    if not is_cloud(location):
        yield Path(location)
        return
    with scratch_folder("input") as scratch:
        folder, place = scratch / "input", str(location).rstrip("/")
        copied = _copy_cloud(place, folder, deep=False)
        with named(folder, place if copied == folder else place.rpartition("/")[0]):
            yield copied


@contextmanager
def pinned_copy(location: str | Path, digest: str, take_digest: Callable[[], str]) -> Iterator[Path]:
    """Open a `local_copy` whose contents are those of an earlier digest.

    Args:
        location: What to copy.
        digest: Taken earlier; empty: nothing is checked.
        take_digest: Takes the digest of what is there now. It is called after the copy is made: versions that are equal
            before and after were equal in between.

    Raises:
        ChangedInputError: The digest is another one by now.
    """
    with local_copy(location) as copy:
        if digest and take_digest() != digest:
            raise ChangedInputError(f"{location}: has changed since the run began; start another run")
        yield copy


def copy_location(location: str | Path, folder: Path) -> Path:
    """Copy all that is at a location, sub-folders included, into an empty folder; verify what has digests.

    Returns:
        The folder; for a single file, the copy in it.

    Raises:
        ArtifactError: A file is missing or altered.
        StoreError: Nothing is there, or it cannot be read.
    """
    if is_cloud(location):
        return _copy_cloud(str(location), folder, deep=True)
    if Path(location).is_file():
        return Path(shutil.copy(location, folder))
    shutil.copytree(location, folder, dirs_exist_ok=True)
    if (folder / MANIFEST).is_file():
        with named(folder, str(location)):
            read_artifact(folder)
    return folder


def digest_inputs(*locations: str | Path) -> str:
    """Return a sha256 over the versions of some files and objects; see `list_versions`."""
    versions = [version for location in locations for version in list_versions(location)]
    return hashlib.sha256("\n".join(versions).encode()).hexdigest()


def list_versions(location: str | Path) -> list[str]:
    """Return the sha256 of a file, or name and tag of every object: other contents give other ones.

    Raises:
        StoreError: Nothing is there, or it cannot be listed.
    """
    if not is_cloud(location):
        return [sha256_file(Path(location))]
    with _open_objects(str(location)) as found:
        return [f"{stored.name}#{stored.tag}" for stored in found.objects]


def list_some(names: Iterable[str]) -> str:
    """Return the first few of some names.

    >>> list_some("abcdefg"), list_some([])
    ('a, b, c, d, e and 2 more', 'nothing')
    """
    listed = list(names)
    rest = f" and {len(listed) - SHOWN_NAMES:,} more" if len(listed) > SHOWN_NAMES else ""
    return f"{', '.join(listed[:SHOWN_NAMES])}{rest}" or "nothing"


@dataclass(frozen=True)
class _Objects:
    """Objects that a location means."""

    store: ObjectStore
    objects: list[StoredObject]
    """Below the store's prefix."""
    name: str
    """The one object's; empty where the location is a prefix."""


@contextmanager
def _open_objects(location: str, deep: bool = False) -> Iterator[_Objects]:
    """Find what a location means, whether it is a prefix or an object.

    With `deep`, also what is in its sub-folders. Without, sub-folders count where one is named `key=value`: they hold
    the parts of a table.
    """
    where = parse_location(location)
    for place, chosen in ((where, ""), (where.parent, where.name)):
        with open_store(place) as store:
            reaches_down = deep or (not chosen and any("=" in name for name in store.list_folders()))
            objects = [stored for stored in store.list_objects(reaches_down) if chosen in ("", stored.name)]
            if objects:
                yield _Objects(store, objects, chosen)
                return
    raise StoreError(f"{where}: {_explain_nothing(where)}")


def _explain_nothing(where: Location) -> str:
    """Tell what is deeper, or else beside it."""
    if deeper := _find_deeper(where):
        return f"no object is directly below it, they are deeper: {list_some(map(str, deeper))}; name one of these"
    told = "nothing is there; expected an object, or a prefix with objects below it"
    with open_store(where.parent) as beside:
        names = [*(stored.name for stored in beside.list_objects()), *(f"{name}/" for name in beside.list_folders())]
    return f"{told}; {where.parent} holds {list_some(names)}" if names else told


def _find_deeper(where: Location) -> list[Location]:
    """Find the folders below a location that hold objects, where a single way leads to them; else the next ones."""
    with open_store(where) as store:
        below = [where / name for name in store.list_folders()]
    if len(below) != 1:
        return below
    with open_store(below[0]) as store:
        return below if store.list_objects() else _find_deeper(below[0])


def _copy_cloud(location: str, folder: Path, deep: bool) -> Path:
    """Copy what is at an address into a folder, which is made; `deep`: sub-folders too where there is no manifest."""
    folder.mkdir(exist_ok=True)
    with _open_objects(location, deep) as found, named(folder, str(found.store.location)):
        if found.name or all(stored.name != MANIFEST for stored in found.objects):
            _download(found.store, found.objects, folder)
            return folder / found.name
        current = find_current(found.store)
        if current.publication:
            fetch_published(found.store, current, folder)
        else:
            _download(found.store, found.store.list_objects(deep=True), folder)
            read_artifact(folder)
        return folder


def _download(store: ObjectStore, wanted: list[StoredObject], folder: Path) -> None:
    """Copy objects; those that are replaced meanwhile are looked for again."""
    with show_progress("download", sum(stored.size_bytes for stored in wanted), "byte") as advance:
        for _ in range(MOST_LISTINGS):
            gone = {stored.name for stored in store.download(wanted, folder, lambda stored: advance(stored.size_bytes))}
            if not gone:
                return
            wanted = [stored for stored in store.list_objects(deep=True) if stored.name in gone]
    raise StoreError(f"{store.location}: objects are replaced as fast as they are read")
