"""The objects below one prefix of a Google Cloud Storage bucket.

The client takes half a second to import, so that happens where it is used. It follows `STORAGE_EMULATOR_HOST`, and then
needs no credentials.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ur4rec.storage.checksums import crc32c_of
from ur4rec.storage.objects import (
    Location,
    ObjectReplacedError,
    ObjectStore,
    StoredObject,
    StoreError,
    in_parallel,
)

if TYPE_CHECKING:
    from google.cloud import storage

PATIENCE_S = 120.0


class GcsStore(ObjectStore):
    """The objects below a prefix.

    Failures that may pass (408, 429, 5xx, dropped connections, timeouts) are retried for `patience_s` seconds, with
    growing pauses, and so are bytes that arrive damaged. What will not pass (a missing bucket, no permission, no
    credentials) is raised at once, as a `StoreError`.
    """

    def __init__(self, location: Location, patience_s: float = PATIENCE_S) -> None:
        from ur4rec.storage.gcs_transfers import connect

        self.location = location
        self._patience_s = patience_s
        self._folder = f"{location.prefix}/" if location.prefix else ""
        with self._explaining("use"):
            self._client, self._retry = connect(patience_s)
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

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return the content of a small object and its generation; None where there is no such object."""
        from ur4rec.storage.gcs_transfers import read

        blob = self._bucket.blob(self._folder + name)
        with self._explaining("read"):
            content = read(blob, self._retry)
        return None if content is None else (content, str(blob.generation))

    def number(self, tag: str) -> int:
        """Return the generation: it is the tag."""
        return int(tag or 0)

    def replace(self, name: str, content: bytes | Path, tag: str, crc32c: str = "") -> StoredObject:
        """Create an object in the place of one version of it; one that has the content already will do."""
        from ur4rec.storage.gcs_transfers import upload

        blob, crc32c = self._bucket.blob(self._folder + name), crc32c or crc32c_of(content)
        with self._explaining("create"):
            if not upload(blob, content, crc32c, self.number(tag), self._retry):
                size_bytes = len(content) if isinstance(content, bytes) else content.stat().st_size
                blob = self._bucket.get_blob(blob.name, retry=self._retry)
                if blob is None or (blob.crc32c, blob.size) != (crc32c, size_bytes):
                    raise ObjectReplacedError(f"{self.location / name}: another writer was faster")
        return self._describe(blob)

    def fetch(self, stored: StoredObject, target: Path) -> bool:
        """Copy this version of an object into a file; return whether it is still there."""
        from ur4rec.storage.gcs_transfers import download

        blob = self._bucket.blob(self._folder + stored.name, generation=self.number(stored.tag))
        with self._explaining("read"):
            return download(blob, stored.size_bytes, target, self._retry)

    def delete(self, objects: Iterable[StoredObject]) -> None:
        """Delete these very versions; what is gone or was replaced is left alone."""
        from ur4rec.storage.gcs_transfers import delete

        def remove(stored: StoredObject) -> None:
            delete(self._bucket.blob(self._folder + stored.name), self.number(stored.tag), self._retry)

        with self._explaining("delete"):
            in_parallel(remove, objects)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _describe(self, blob: storage.Blob) -> StoredObject:
        name = blob.name.removeprefix(self._folder)
        return StoredObject(name, str(blob.generation), int(blob.size), blob.time_created.timestamp(), blob.crc32c)

    @contextmanager
    def _explaining(self, verb: str) -> Iterator[None]:
        """Turn the client's exceptions into one line each."""
        from ur4rec.storage.gcs_transfers import explain

        try:
            yield
        except Exception as error:
            told = explain(error, verb, self._patience_s)
            if told is None:
                raise
            raise StoreError(f"{self.location}: {told}") from None
