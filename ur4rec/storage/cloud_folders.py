"""Whole folders in cloud storage: published so that readers see one version or the next, read so that all is verified.

A publisher creates its files below a sub-prefix of its own, and replaces the manifest last, on the condition that it is
still the one that it found: of several that meet, one wins, and its manifest names its files alone.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ur4rec.progress import Advance, show_progress
from ur4rec.storage.artifacts import MANIFEST, ArtifactError, sha256_file
from ur4rec.storage.checksums import HASHERS, FileDigest, crc32c_of
from ur4rec.storage.objects import (
    CHUNK_BYTES,
    NO_OBJECT,
    Location,
    ObjectReplacedError,
    ObjectStore,
    StoredObject,
    StoreError,
    in_parallel,
)
from ur4rec.storage.publication import (
    CONTENT,
    Publication,
    PublishedFile,
    is_leftover,
    name_version,
    parse_publication,
)
from ur4rec.storage.stores import open_store

MOST_READS = 5
PARALLEL_LARGE_UPLOADS = 4


class PublishConflictError(StoreError):
    """Another publisher was faster; what it published stands."""


@dataclass(frozen=True)
class Current:
    """What is published now."""

    publication: Publication | None
    tag: str
    """That of the manifest."""
    number: int
    """What a successor is built on: larger than what any former manifest was."""

    def holds(self, files: Mapping[str, FileDigest]) -> bool:
        """Return whether these contents are published."""
        if self.publication is None:
            return False
        return {name: file.sha256 for name, file in self.publication.files.items()} == {
            name: digest.sha256 for name, digest in files.items()
        }


@dataclass(frozen=True)
class Published:
    """What became of a folder that was to be published."""

    num_files: int
    size_bytes: int
    changed: bool
    """False: these contents were there already."""
    removed: list[str] = field(default_factory=list)
    """Addresses of sub-prefixes that killed or slower publishers left, and of versions before the former one."""

    @classmethod
    def of(cls, files: Mapping[str, FileDigest], changed: bool, removed: list[str] | None = None) -> Published:
        """Count the files."""
        return cls(len(files), sum(file.size_bytes for file in files.values()), changed, removed or [])


def find_current(store: ObjectStore) -> Current:
    """Find what is published below a prefix; an `ArtifactError` tells that its manifest is damaged."""
    found = store.read(MANIFEST)
    if found is None:
        return Current(None, NO_OBJECT, 0)
    return _describe(store, parse_publication(found[0], f"{store.location}/{MANIFEST}"), found[1])


def _describe(store: ObjectStore, publication: Publication | None, tag: str) -> Current:
    counted = store.number(tag)
    return Current(publication, tag, counted or (publication.number + 1 if publication else 0))


def publish(folder: Path, files: Mapping[str, FileDigest], location: Location) -> Published:
    """Make the contents of a folder, with these digests by relative path, the ones below a prefix.

    Raises:
        PublishConflictError: Another publisher put something else there in the meantime.
        ArtifactError: A file changed while it was published, or something else is below the prefix.
        StoreError: The bucket is missing, may not be written to or cannot be reached.
    """
    with open_store(location) as store:
        current = find_current(store)
        if current.tag and current.publication is None:
            raise ArtifactError(f"{location}/{MANIFEST}: was not made by publishing; choose another prefix")
        if current.holds(files):
            return Published.of(files, False, _remove_leftovers(store, current))
        version = name_version(current.number, files)
        _upload(folder, files, location / version)
        former = current.publication.content if current.publication else None
        described = {
            name: PublishedFile(sha256=file.sha256, size_bytes=file.size_bytes) for name, file in sorted(files.items())
        }
        publication = Publication(content=version, former=former, files=described)
        return _commit(store, publication, current, files)


def _commit(store: ObjectStore, publication: Publication, found: Current, files: Mapping[str, FileDigest]) -> Published:
    content = publication.model_dump_json(indent=1).encode()
    try:
        stored = store.replace(MANIFEST, content, found.tag)
    except ObjectReplacedError:
        current = find_current(store)
        removed = _remove_leftovers(store, current)
        if current.holds(files):
            return Published.of(files, False, removed)
        raise PublishConflictError(
            f"{store.location}: another publisher was faster, and its version stands; publish again to replace it"
        ) from None
    return Published.of(files, True, _remove_leftovers(store, _describe(store, publication, stored.tag)))


def _upload(folder: Path, files: Mapping[str, FileDigest], location: Location) -> None:
    """Create the files below a sub-prefix, except those that are there already."""
    total = sum(file.size_bytes for file in files.values())
    with open_store(location) as store, show_progress("upload", total, "byte") as advance:
        present = {stored.name: stored for stored in store.list_objects(deep=True)}

        def send(name: str) -> None:
            stored, expected = present.get(name), files[name]
            if not _is_whole(store, stored, expected):
                _send(store, folder / name, name, stored.tag if stored else NO_OBJECT, expected)
            advance(expected.size_bytes)

        large = {name for name, file in files.items() if file.size_bytes > CHUNK_BYTES}
        in_parallel(send, sorted(files.keys() - large))
        in_parallel(send, sorted(large), PARALLEL_LARGE_UPLOADS)
        _check_uploaded(folder, files, store)


def _send(store: ObjectStore, file: Path, name: str, tag: str, expected: FileDigest) -> None:
    try:
        store.replace(name, file, tag, expected.crc32c)
    except StoreError:
        if crc32c_of(file) != expected.crc32c:
            raise _changed(file) from None
        raise


def _check_uploaded(folder: Path, files: Mapping[str, FileDigest], store: ObjectStore) -> None:
    present = {stored.name: stored for stored in store.list_objects(deep=True)}

    def check(name: str) -> None:
        if name not in present:
            raise PublishConflictError(f"{store.location}/{name}: removed by another publisher; publish again")
        if not _is_whole(store, present[name], files[name]):
            raise _changed(folder / name)

    in_parallel(check, files)


def _changed(file: Path) -> ArtifactError:
    return ArtifactError(f"{file}: changed while it was published; publish again when it is finished")


def _is_whole(store: ObjectStore, stored: StoredObject | None, expected: FileDigest) -> bool:
    if stored is None or stored.size_bytes != expected.size_bytes:
        return False
    return store.find_crc32c(stored) == expected.crc32c


def _remove_leftovers(store: ObjectStore, current: Current) -> list[str]:
    """Delete what nobody can read or publish any more; a failure to do so is only logged."""
    publication = current.publication
    if publication is None:
        return []
    try:
        with open_store(store.location / CONTENT) as content:
            objects = content.list_objects(deep=True)
            versions = {stored: f"{CONTENT}/{stored.name.partition('/')[0]}" for stored in objects}
            stale = [stored for stored in objects if is_leftover(versions[stored], publication, current.number)]
            content.delete(stale)
    except StoreError as error:
        logging.getLogger(__name__).warning("leftovers stay, the next publication removes them: %s", error)
        return []
    return sorted({f"{store.location}/{versions[stored]}" for stored in stale})


def fetch_published(store: ObjectStore, current: Current, folder: Path) -> Publication:
    """Copy the published files into a folder, verified by sha256; what else was in the folder goes.

    A version that is replaced and removed meanwhile makes it start anew with its successor.

    Raises:
        ArtifactError: A file is missing or altered; names it.
        StoreError: Cloud storage cannot be read.
    """
    for _ in range(MOST_READS):
        publication = current.publication
        if publication is None:
            raise StoreError(f"{store.location}: vanished while it was read")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        missing = _download(publication, store.location / publication.content, folder)
        if not missing:
            return publication
        before, current = current.tag, find_current(store)
        if current.tag == before:
            raise ArtifactError(
                f"{store.location}/{publication.content}/{missing[0]}: named in the manifest but missing; "
                "publish the folder again"
            )
    raise StoreError(f"{store.location}: is replaced as fast as it is read")


def _download(publication: Publication, location: Location, folder: Path) -> list[str]:
    """Download the published files; return the names of those that are not there."""
    with open_store(location) as store, show_progress("download", publication.size_bytes, "byte") as advance:
        present = {stored.name: stored for stored in store.list_objects(deep=True)}
        missing = [name for name in publication.files if name not in present]
        if missing:
            return missing
        objects = [present[name] for name in publication.files]
        gone, digests = _download_hashed(store, objects, folder, advance)
    for name, digest in digests.items():
        if digest != publication.files[name].sha256:
            raise ArtifactError(f"{location}/{name}: sha256 differs from the manifest; publish the folder again")
    return [stored.name for stored in gone]


def _download_hashed(
    store: ObjectStore, objects: list[StoredObject], folder: Path, advance: Advance
) -> tuple[list[StoredObject], dict[str, str]]:
    """Objects that have gone, and the sha256 of the others: one is hashed while the next is fetched."""
    with ThreadPoolExecutor(HASHERS) as hashers:
        hashing = {}

        def done(stored: StoredObject) -> None:
            advance(stored.size_bytes)
            hashing[stored.name] = hashers.submit(sha256_file, folder / stored.name)

        gone = store.download(objects, folder, done)
        return gone, {name: digest.result() for name, digest in hashing.items()}
