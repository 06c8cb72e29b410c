"""Objects in cloud storage: what every store can do, and what it says of where they are and of failures."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Protocol, Self, TypeVar

CONTROL = re.compile(r"[\x00-\x1f]")
PARALLEL_TRANSFERS = 8  # below the ten connections of Google's client
PROBE = ".ur4rec-probe"
"""Folder of objects that are made to see whether they can be, and deleted at once."""
NO_OBJECT = ""
"""Stands for the tag of an object that there is not."""
CHUNK_BYTES = 8 << 20
"""Larger objects come in chunks of this size, several at a time."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class StoreError(ValueError):
    """Cloud storage that cannot be used as asked; names the location and what to do."""


class ObjectExistsError(StoreError):
    """An object of that name is there already, with other content."""


class ObjectReplacedError(StoreError):
    """Another version of an object is there than the one that was to be replaced."""


@dataclass(frozen=True, slots=True)
class Location:
    """A bucket and a prefix in it.

    Args:
        scheme: What stands before `://`; tells which store it is.
        bucket: Name of the bucket.
        prefix: The part of every object's name that stands before its last slash; may be empty.
    """

    scheme: str
    bucket: str
    prefix: str

    @property
    def parent(self) -> Location:
        """The prefix one level up."""
        return replace(self, prefix=self.prefix.rpartition("/")[0])

    @property
    def name(self) -> str:
        """What stands behind the last slash of the prefix."""
        return self.prefix.rpartition("/")[2]

    def __truediv__(self, name: str) -> Location:
        return replace(self, prefix=f"{self.prefix}/{name}".lstrip("/"))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}".rstrip("/")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One version of an object. Its name is relative to the prefix."""

    name: str
    tag: str
    """Tells versions of an object apart: other contents have another one."""
    size_bytes: int
    created_at_s: float = field(compare=False)
    """Seconds since 1970 by the clock of the service."""
    crc32c: str = field(compare=False)
    """In base64; empty where the service does not tell it with the rest."""


class ObjectStore(Protocol):
    """The objects below one prefix, which `location` names; the end of a `with` block closes the connections.

    Every method retries what may pass, and raises a `StoreError` where the bucket is missing, may not be used so or
    cannot be reached.
    """

    location: Location

    def list_objects(self, deep: bool = False) -> list[StoredObject]:
        """Return all objects directly below the prefix, by name; `deep`: also those below a further slash."""

    def list_folders(self) -> list[str]:
        """Return the names of the folders directly below the prefix that have objects somewhere below them."""

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return the content of a small object and the tag of its version; None where there is no such object."""

    def find_crc32c(self, stored: StoredObject) -> str:
        """Return the checksum of this version, asked for where it was not told; empty where there is none."""
        return stored.crc32c

    def number(self, tag: str) -> int | None:
        """Return what grows from version to version of an object; None where the service does not count them."""
        return None

    def replace(self, name: str, content: bytes | Path, tag: str, crc32c: str = "") -> StoredObject:
        """Create an object in the place of one version of it; one that has the content already will do.

        Args:
            name: The object's, below the prefix.
            content: Bytes, or a file with them.
            tag: That of the version to replace; `NO_OBJECT`: there must be none.
            crc32c: Of the content, where the caller has taken it; other bytes count as damaged. Empty: taken here.

        Raises:
            ObjectReplacedError: Another version is there, with other content.
        """

    def upload_new(self, name: str, content: bytes | Path) -> StoredObject:
        """Create an object; nothing that exists is ever replaced.

        An object of that name and content counts as made by this call: the answer to an earlier attempt may be lost.

        Raises:
            ObjectExistsError: The name is taken by other content.
        """
        try:
            return self.replace(name, content, NO_OBJECT)
        except ObjectReplacedError:
            raise ObjectExistsError(f"{self.location / name}: exists with other content") from None

    def download(
        self, objects: Iterable[StoredObject], folder: Path, done: Callable[[StoredObject], None] = lambda _: None
    ) -> list[StoredObject]:
        """Copy objects into a folder under their names, several at a time; slashes in names make sub-folders.

        Args:
            objects: What to copy: exactly these versions.
            folder: Where to; a name that would leave it raises a `StoreError`.
            done: Is told of each object that has been copied.

        Returns:
            The objects that are no longer there.
        """
        objects = list(objects)
        self.check_names(objects)

        def fetch(stored: StoredObject) -> bool:
            is_there = self.fetch(stored, folder / stored.name)
            if is_there:
                done(stored)
            return is_there

        small = [stored for stored in objects if stored.size_bytes <= CHUNK_BYTES]
        fetched = dict(zip(small, in_parallel(fetch, small), strict=True))
        for stored in objects:
            if stored not in fetched:  # its chunks come in parallel
                fetched[stored] = fetch(stored)
        return [stored for stored in objects if not fetched[stored]]

    def fetch(self, stored: StoredObject, target: Path) -> bool:
        """Copy this version of an object into a file, whole and compared; return whether it is still there."""

    def delete(self, objects: Iterable[StoredObject]) -> None:
        """Delete these very versions, several at a time; what is gone or was replaced is left alone."""

    def check_writable(self) -> None:
        """Raise a `StoreError` where objects cannot be created under a condition, or not be deleted."""
        self.delete([self.upload_new(f"{PROBE}/{secrets.token_hex(8)}", b"")])

    def check_names(self, objects: Iterable[StoredObject]) -> None:
        """Refuse names that would leave a folder: they may hold anything, `..` too."""
        for stored in objects:
            if not is_file_name(stored.name):
                raise StoreError(
                    f"{self.location}: holds an object named {stored.name!r}: not the path of a file below a folder"
                )

    def close(self) -> None:
        """Close the connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def is_file_name(name: str) -> bool:
    """Return whether a relative path stays in its folder and can be the name of an object."""
    path = PurePosixPath(name)
    leads_out = path.is_absolute() or ".." in path.parts
    return bool(path.parts) and not leads_out and str(path) == name and not CONTROL.search(name)


def in_parallel(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int = PARALLEL_TRANSFERS
) -> list[Result]:
    """Return the results in order; after a failure no further item is begun."""
    executor = ThreadPoolExecutor(workers)
    try:
        return list(executor.map(function, items))
    finally:
        executor.shutdown(cancel_futures=True)
