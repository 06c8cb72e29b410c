"""Publishing and fetching whole folders: to and from a path or a prefix in cloud storage, with the same guarantees.

What appears, appears whole, and every byte of it has been compared with its sha256.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock

from ur4rec.storage.artifacts import (
    MANIFEST,
    ArtifactError,
    check_producer,
    check_replaceable,
    find_producer,
    read_artifact,
)
from ur4rec.storage.checksums import HASHERS, FileDigest, digest_file
from ur4rec.storage.cloud_folders import Published, find_current, publish
from ur4rec.storage.inputs import copy_location
from ur4rec.storage.locks import LOCK
from ur4rec.storage.publication import check_file_name
from ur4rec.storage.stores import is_cloud, open_store, parse_location
from ur4rec.storage.temporaries import move_folder, temporary_sibling
from ur4rec.storage.writing import named

CACHED_NAME_LENGTH = 40


def publish_folder(folder: Path, target: str | Path) -> Published:
    """Make the contents of a folder, sub-folders included, those of another place; all at once, or not at all.

    Args:
        folder: What to publish; an artifact folder is verified first.
        target: A path, `gs://bucket/prefix` or `s3://bucket/prefix`.

    Raises:
        ArtifactError: The folder is empty, altered, changes meanwhile or cannot be published; or something else, or an
            artifact of another kind, is at the target.
        PublishConflictError: Another publisher put something else there in the meantime.
        StoreError: Cloud storage cannot be used as asked.
    """
    files = digest_folder(folder)
    if is_cloud(target):
        return publish(folder, files, parse_location(str(target)))
    return Published.of(files, _publish_here(folder, files, Path(target)))


def fetch_folder(source: str | Path, target: Path) -> Path:
    """Copy a published folder, or what is below a prefix or at a path; it appears at `target` whole or not at all.

    Args:
        source: `gs://bucket/prefix` or `s3://bucket/prefix` (or of a single object), or a path.
        target: Folder to write; an older artifact folder of the same kind is replaced.

    Returns:
        The target; for a single object, the file in it.

    Raises:
        ArtifactError: A file is missing or altered, or something else, or an artifact of another kind, is at the
            target.
        StoreError: Nothing is there, or cloud storage cannot be read.
    """
    check_replaceable(target)
    return _fetch(source, target, any_kind=False)


def fetch_into_cache(source: str, cache: Path) -> Path:
    """Fetch a folder to its source's own place in a cache folder; what is there and current stays.

    Raises:
        ArtifactError: A file is missing or altered.
        StoreError: Nothing is there, or cloud storage cannot be read.
    """
    place = source.rstrip("/")
    scheme, _, rest = place.partition("://")
    name = "".join(letter if letter.isalnum() else "-" for letter in rest)[:CACHED_NAME_LENGTH]
    target = cache / scheme / f"{name}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"
    with named(target, place):
        if target.is_dir():
            with open_store(source) as store:
                if find_current(store).holds(_digest_files(target)):
                    return target
        return _fetch(source, target, any_kind=True)


def digest_folder(folder: Path) -> dict[str, FileDigest]:
    """Return relative path → digest of every file; a folder with a manifest is compared with it.

    Raises:
        ArtifactError: There is no file, a folder is a symbolic link, a name cannot be published, or a file differs from
            the manifest.
    """
    if not folder.is_dir():
        raise ArtifactError(f"{folder}: not a folder; expected one with files to publish")
    files = _digest_files(folder)
    if (folder / MANIFEST).is_file():
        read_artifact(folder, {name: file.sha256 for name, file in files.items()})
    if not files:
        raise ArtifactError(f"{folder}: holds no file; expected some to publish")
    return files


def _digest_files(folder: Path) -> dict[str, FileDigest]:
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    linked = [path for path in paths.values() if path.is_symlink() and path.is_dir()]
    if linked:
        raise ArtifactError(f"{linked[0]}: a link to a folder; put the folder itself there")
    files = {check_file_name(name): path for name, path in paths.items() if path.is_file() and path.name != LOCK}
    with ThreadPoolExecutor(HASHERS) as hashers:
        return dict(zip(files, hashers.map(digest_file, files.values()), strict=True))


def _publish_here(folder: Path, files: Mapping[str, FileDigest], target: Path) -> bool:
    """Publish to a path, one publisher at a time; return whether its contents were others."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / f".{target.name}.lock"):
        if target.is_dir() and any(target.iterdir()) and _holds(target, files):
            return False
        check_producer(target, find_producer(folder))
        with temporary_sibling(target) as copy:
            for name in files:
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, copy / name)
            with named(copy, str(folder)):
                copied = digest_folder(copy)
            if copied != files:
                raise ArtifactError(f"{folder}: changed while it was published; publish again when it is finished")
            move_folder(copy, target)
    return True


def _holds(folder: Path, files: Mapping[str, FileDigest]) -> bool:
    try:
        return digest_folder(folder) == files
    except ArtifactError:  # damaged: it is replaced
        return False


def _fetch(source: str | Path, target: Path, any_kind: bool) -> Path:
    with temporary_sibling(target) as copy:
        found = copy_location(source, copy)
        if not any_kind:
            check_producer(target, find_producer(copy))
        move_folder(copy, target)
    return target / found.relative_to(copy)
