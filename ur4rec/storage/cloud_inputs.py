"""What is at a location in Cloud Storage: a published folder, an artifact folder, a prefix, or one object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ur4rec.progress import show_transfer
from ur4rec.storage.artifacts import MANIFEST, read_artifact
from ur4rec.storage.checksums import FileDigest
from ur4rec.storage.cloud_folders import fetch_published, find_current
from ur4rec.storage.gcs import GcsError, GcsLocation, GcsPrefix, StoredObject
from ur4rec.storage.inputs import list_some
from ur4rec.storage.origins import named

MOST_LISTINGS = 5


@dataclass(frozen=True)
class Objects:
    """Objects that a location means."""

    prefix: GcsPrefix
    objects: list[StoredObject]
    """Below the prefix."""
    name: str
    """Of the one object; empty where the location is a prefix."""

    @property
    def has_manifest(self) -> bool:
        """Whether it is a folder that was published, or the copy of an artifact folder."""
        return not self.name and any(stored.name == MANIFEST for stored in self.objects)


@contextmanager
def open_objects(location: str, deep: bool = False) -> Iterator[Objects]:
    """Finds what a location means, whether it is a prefix or an object.

    Args:
        location: `gs://bucket/…`.
        deep: Also what is in sub-folders of a prefix.

    Raises:
        GcsError: Nothing is there, or it cannot be listed.
    """
    where = GcsLocation.parse(location)
    folder, _, name = where.prefix.rpartition("/")
    for place, chosen in ((where, ""), (GcsLocation(where.bucket, folder), name)):
        with closing(GcsPrefix(place)) as prefix:
            objects = [stored for stored in prefix.list_objects(deep) if chosen in ("", stored.name)]
            if objects:
                yield Objects(prefix, objects, chosen)
                return
    raise GcsError(f"{where}: {_explain_nothing(where)}")


def _explain_nothing(where: GcsLocation) -> str:
    """What is deeper, or else beside it."""
    if deeper := _find_deeper(where):
        return f"no object is directly below it, they are deeper: {list_some(map(str, deeper))}; name one of these"
    folder, _, _ = where.prefix.rpartition("/")
    told = "nothing is there; expected an object, or a prefix with objects below it"
    with closing(GcsPrefix(GcsLocation(where.bucket, folder))) as beside:
        names = [*(stored.name for stored in beside.list_objects()), *(f"{name}/" for name in beside.list_folders())]
        return f"{told}; {beside.location} holds {list_some(names)}" if names else told


def _find_deeper(where: GcsLocation) -> list[GcsLocation]:
    """The folders below a location that hold objects, where a single way leads to them; else the next ones."""
    with closing(GcsPrefix(where)) as prefix:
        below = [GcsLocation(where.bucket, f"{where.prefix}/{name}".lstrip("/")) for name in prefix.list_folders()]
    if len(below) != 1:
        return below
    with closing(GcsPrefix(below[0])) as prefix:
        return below if prefix.list_objects() else _find_deeper(below[0])


def holds(location: str, files: Mapping[str, FileDigest]) -> bool:
    """Whether these contents are published at a location.

    Raises:
        ArtifactError: The manifest there is damaged.
        GcsError: It cannot be read.
    """
    with closing(GcsPrefix(GcsLocation.parse(location))) as prefix:
        return find_current(prefix).holds(files)


def copy_cloud(location: str, folder: Path, deep: bool) -> Path:
    """Copies what is at a location into a folder; verifies what has digests.

    Args:
        location: `gs://bucket/…`.
        folder: Where to; is made.
        deep: Also what is in sub-folders of a prefix without a manifest.

    Returns:
        The folder; for a single object, the file in it.

    Raises:
        ArtifactError: A file of a published folder or an artifact folder is missing or altered.
        GcsError: Nothing is there, or it cannot be read.
    """
    folder.mkdir(exist_ok=True)
    with open_objects(location, deep) as found, named(folder, str(found.prefix.location)):
        if not found.has_manifest:
            _download(found.prefix, found.objects, folder)
            return folder / found.name
        current = find_current(found.prefix)
        if current.publication:
            fetch_published(found.prefix, current, folder)
        else:
            _download(found.prefix, found.prefix.list_objects(deep=True), folder)
            read_artifact(folder)
        return folder


def _download(prefix: GcsPrefix, wanted: list[StoredObject], folder: Path) -> None:
    """Copies objects; those that are replaced meanwhile are looked for again."""
    with show_transfer("download", sum(stored.size_bytes for stored in wanted)) as advance:
        for _ in range(MOST_LISTINGS):
            gone = {
                stored.name for stored in prefix.download(wanted, folder, lambda stored: advance(stored.size_bytes))
            }
            if not gone:
                return
            wanted = [stored for stored in prefix.list_objects(deep=True) if stored.name in gone]
    raise GcsError(f"{prefix.location}: objects are replaced as fast as they are read")
