"""The objects below one prefix of a Google Cloud Storage bucket.

The client follows `STORAGE_EMULATOR_HOST`, and then needs no credentials.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound, PreconditionFailed, Unauthorized
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY
from requests import RequestException

PARALLEL_TRANSFERS = 8  # below the client's pool of ten connections
PATIENCE_S = 120.0
CHUNK_BYTES = 8 << 20
"""Of a file that is uploaded, the part that is in memory at a time."""
LONGEST_REASON = 300
LOCATION = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])((?:/[^/\x00-\x1f]+)*)/?")

Item = TypeVar("Item")
Result = TypeVar("Result")


class GcsError(ValueError):
    """Cloud storage that cannot be used as asked; names the location and what to do."""


class ObjectExistsError(GcsError):
    """An object of that name is there already, with other content."""


@dataclass(frozen=True, slots=True)
class GcsLocation:
    """A bucket and a prefix in it.

    Args:
        bucket: Name of the bucket.
        prefix: The part of every object's name that stands before its last slash; may be empty.
    """

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, text: str) -> GcsLocation:
        """Reads `gs://bucket` or `gs://bucket/some/prefix`; one slash at the end is ignored.

        Raises:
            GcsError: The text is neither.
        """
        match = LOCATION.fullmatch(text)
        if match is None or {".", ".."} & set(match[2].split("/")):
            raise GcsError(f"{text!r} is no location in cloud storage; expected gs://bucket/prefix")
        return cls(match[1], match[2].lstrip("/"))

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.prefix}".rstrip("/")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One version of an object. Its name is relative to the prefix."""

    name: str
    generation: int
    size_bytes: int
    created_at_s: float
    """Seconds since 1970 by the clock of the service."""


class GcsPrefix:
    """Lists, reads and writes the objects directly below a prefix.

    Failures that may pass (429, 5xx, dropped connections, timeouts) are retried with growing pauses; those that will
    not (a missing bucket, no permission, no credentials) are raised at once.

    Args:
        location: Where the objects are.
        patience_s: Seconds for which one operation is retried.

    Raises:
        GcsError: There are no credentials.
    """

    def __init__(self, location: GcsLocation, patience_s: float = PATIENCE_S) -> None:
        self.location = location
        self._patience_s = patience_s
        self._retry = DEFAULT_RETRY.with_timeout(patience_s)
        self._folder = f"{location.prefix}/" if location.prefix else ""
        with self._explaining("use"):
            self._client = storage.Client(project=None)
        self._bucket = self._client.bucket(location.bucket)

    def list_objects(self) -> list[StoredObject]:
        """All objects below the prefix, by name; those below a further slash are left out.

        Raises:
            GcsError: The bucket is missing, may not be listed or cannot be reached.
        """
        with self._explaining("list"):
            blobs = self._client.list_blobs(self._bucket, prefix=self._folder, delimiter="/", retry=self._retry)
            return [self._describe(blob) for blob in blobs if blob.name != self._folder]

    def upload_new(self, name: str, content: bytes | Path) -> StoredObject:
        """Creates an object; nothing that exists is ever replaced.

        An object of that name and content counts as made by this call: the answer to an earlier attempt may be lost.

        Raises:
            ObjectExistsError: The name is taken by other content.
            GcsError: The bucket is missing, may not be written to or cannot be reached.
        """
        blob = self._bucket.blob(self._folder + name)
        with self._explaining("create"):
            try:
                self._upload(blob, content)
            except PreconditionFailed:
                blob.reload(retry=self._retry)
                if blob.md5_hash != _md5(content):
                    raise ObjectExistsError(f"{self.location}/{name}: exists with other content") from None
            return self._describe(blob)

    def download(self, objects: Iterable[StoredObject], folder: Path) -> list[StoredObject]:
        """Copies objects into a folder under their names, several at a time.

        Returns:
            The objects that are no longer there.

        Raises:
            GcsError: The bucket may not be read or cannot be reached.
        """

        def fetch(stored: StoredObject) -> StoredObject | None:
            blob = self._bucket.blob(self._folder + stored.name, generation=stored.generation)
            target = folder / stored.name
            try:
                blob.download_to_filename(str(target), retry=self._retry)
            except NotFound:
                target.unlink(missing_ok=True)
                return stored
            return None

        with self._explaining("read"):
            return [stored for stored in _in_parallel(fetch, objects) if stored]

    def delete(self, objects: Iterable[StoredObject]) -> None:
        """Deletes these very versions, several at a time; what is gone or was replaced is left alone.

        Raises:
            GcsError: Nothing may be deleted in the bucket, or it cannot be reached.
        """

        def remove(stored: StoredObject) -> None:
            try:
                self._bucket.blob(self._folder + stored.name).delete(
                    if_generation_match=stored.generation, retry=self._retry
                )
            except (NotFound, PreconditionFailed):
                return

        with self._explaining("delete"):
            _in_parallel(remove, objects)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _upload(self, blob: storage.Blob, content: bytes | Path) -> None:
        if isinstance(content, bytes):
            blob.upload_from_string(content, if_generation_match=0, retry=self._retry)
        else:
            blob.chunk_size = CHUNK_BYTES
            blob.upload_from_filename(str(content), if_generation_match=0, retry=self._retry)

    def _describe(self, blob: storage.Blob) -> StoredObject:
        name = blob.name.removeprefix(self._folder)
        return StoredObject(name, int(blob.generation), int(blob.size), blob.time_created.timestamp())

    @contextmanager
    def _explaining(self, verb: str) -> Iterator[None]:
        """Turns the client's exceptions into one line each."""
        try:
            yield
        except NotFound:
            raise GcsError(f"{self.location}: no such bucket; create it or correct its name") from None
        except (Forbidden, Unauthorized) as error:
            raise GcsError(
                f"{self.location}: not allowed to {verb} objects; expected a role such as roles/storage.objectUser "
                f"on the bucket ({_shorten(error)})"
            ) from None
        except GoogleAuthError as error:
            raise GcsError(
                f"{self.location}: no usable Google credentials; run `gcloud auth application-default login` or set "
                f"GOOGLE_APPLICATION_CREDENTIALS ({_shorten(error)})"
            ) from None
        except (GoogleAPIError, RequestException) as error:
            raise GcsError(
                f"{self.location}: could not {verb} objects, transient failures having been retried for "
                f"{self._patience_s:g} s ({_shorten(error)})"
            ) from None


def _in_parallel(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The results in order; after a failure no further item is begun."""
    executor = ThreadPoolExecutor(PARALLEL_TRANSFERS)
    try:
        return list(executor.map(function, items))
    finally:
        executor.shutdown(cancel_futures=True)


def _md5(content: bytes | Path) -> str:
    """The digest by which the service describes an object, in base64."""
    if isinstance(content, bytes):
        digest = hashlib.md5(content, usedforsecurity=False)
    else:
        with content.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return base64.b64encode(digest.digest()).decode()


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:LONGEST_REASON]
