"""The objects below one prefix of a Google Cloud Storage bucket; `open_store` alone imports this module.

The client follows `STORAGE_EMULATOR_HOST`, and then needs no credentials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound, PreconditionFailed, Unauthorized
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY
from requests import RequestException
from urllib3.exceptions import HTTPError

from ur4rec.storage.checksums import crc32c_of
from ur4rec.storage.gcs_transfers import DamagedTransferError, download, read, upload
from ur4rec.storage.objects import (
    CHUNK_BYTES,
    Location,
    ObjectReplacedError,
    ObjectStore,
    StoredObject,
    StoreError,
    in_parallel,
)

PATIENCE_S = 120.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 30.0
"""Between two attempts; each pause is a random part of one twice as long as the one before."""
LONGEST_REASON = 300


class GcsStore(ObjectStore):
    """The objects below a prefix.

    Failures that may pass (408, 429, 5xx, dropped connections, timeouts) are retried for `patience_s` seconds, with
    growing pauses, and so are bytes that arrive damaged. What will not pass (a missing bucket, no permission, no
    credentials) is raised at once, as a `StoreError`.
    """

    def __init__(self, location: Location, patience_s: float = PATIENCE_S) -> None:
        self.location = location
        self._patience_s = patience_s
        self._retry = DEFAULT_RETRY.with_timeout(patience_s).with_delay(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._folder = f"{location.prefix}/" if location.prefix else ""
        with self._explaining("use"):
            self._client = storage.Client(project=None)
        self._bucket = self._client.bucket(location.bucket)

    def list_objects(self, deep: bool = False) -> list[StoredObject]:
        """Return all objects below the prefix, by name."""
        with self._explaining("list"):
            delimiter = None if deep else "/"
            blobs = self._client.list_blobs(self._bucket, prefix=self._folder, delimiter=delimiter, retry=self._retry)
            return [self._describe(blob) for blob in blobs if not blob.name.endswith("/")]

    def list_folders(self) -> list[str]:
        """Return the names of the folders directly below the prefix."""
        with self._explaining("list"):
            blobs = self._client.list_blobs(self._bucket, prefix=self._folder, delimiter="/", retry=self._retry)
            for _ in blobs:  # the folders come with the pages
                pass
            return sorted(name.removeprefix(self._folder).rstrip("/") for name in blobs.prefixes)

    def read(self, name: str) -> tuple[bytes, int] | None:
        """Return the content of a small object and its generation; None where there is no such object."""
        blob = self._bucket.blob(self._folder + name)
        with self._explaining("read"):
            try:
                return read(blob, self._retry), int(blob.generation)
            except NotFound:
                list(self._client.list_blobs(self._bucket, max_results=1, retry=self._retry))  # is there a bucket?
                return None

    def replace(self, name: str, content: bytes | Path, generation: int, crc32c: str = "") -> StoredObject:
        """Create an object in the place of one version of it; one that has the content already will do."""
        blob, crc32c = self._bucket.blob(self._folder + name), crc32c or crc32c_of(content)
        with self._explaining("create"):
            try:
                upload(blob, content, crc32c, generation, self._retry)
            except PreconditionFailed:
                blob = self._bucket.get_blob(blob.name, retry=self._retry)
                if blob is None or (blob.crc32c, blob.size) != (crc32c, _count_bytes(content)):
                    raise ObjectReplacedError(f"{self.location / name}: another writer was faster") from None
            return self._describe(blob)

    def download(
        self, objects: Iterable[StoredObject], folder: Path, done: Callable[[StoredObject], None] | None = None
    ) -> list[StoredObject]:
        """Copy objects into a folder under their names; return those that are no longer there."""

        def fetch(stored: StoredObject) -> StoredObject | None:
            blob = self._bucket.blob(self._folder + stored.name, generation=stored.generation)
            target = folder / stored.name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                download(blob, stored.size_bytes, target, self._retry)
            except NotFound:
                target.unlink(missing_ok=True)
                return stored
            if done:
                done(stored)
            return None

        objects = list(objects)
        self.check_names(objects)
        large = [stored for stored in objects if stored.size_bytes > CHUNK_BYTES]  # their chunks come in parallel
        with self._explaining("read"):
            gone = in_parallel(fetch, (stored for stored in objects if stored.size_bytes <= CHUNK_BYTES))
            gone += [fetch(stored) for stored in large]
        vanished = {stored.name for stored in gone if stored}
        return [stored for stored in objects if stored.name in vanished]

    def delete(self, objects: Iterable[StoredObject]) -> None:
        """Delete these very versions; what is gone or was replaced is left alone."""

        def remove(stored: StoredObject) -> None:
            try:
                self._bucket.blob(self._folder + stored.name).delete(
                    if_generation_match=stored.generation, retry=self._retry
                )
            except (NotFound, PreconditionFailed):
                return

        with self._explaining("delete"):
            in_parallel(remove, objects)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _describe(self, blob: storage.Blob) -> StoredObject:
        name = blob.name.removeprefix(self._folder)
        return StoredObject(name, int(blob.generation), int(blob.size), blob.time_created.timestamp(), blob.crc32c)

    @contextmanager
    def _explaining(self, verb: str) -> Iterator[None]:
        """Turn the client's exceptions into one line each."""
        try:
            yield
        except NotFound:
            raise StoreError(f"{self.location}: no such bucket; create it or correct its name") from None
        except (Forbidden, Unauthorized) as error:
            raise StoreError(
                f"{self.location}: not allowed to {verb} objects; expected a role such as roles/storage.objectUser "
                f"on the bucket ({_shorten(error)})"
            ) from None
        except GoogleAuthError as error:
            raise StoreError(
                f"{self.location}: no usable Google credentials; run `gcloud auth application-default login` or set "
                f"GOOGLE_APPLICATION_CREDENTIALS ({_shorten(error)})"
            ) from None
        except DamagedTransferError as error:
            raise StoreError(f"{self.location}: could not {verb} {error}") from None
        except (GoogleAPIError, RequestException, HTTPError) as error:
            raise StoreError(
                f"{self.location}: could not {verb} objects, transient failures having been retried for "
                f"{self._patience_s:g} s ({_shorten(error)})"
            ) from None


def _count_bytes(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:LONGEST_REASON]
