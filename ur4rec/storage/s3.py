"""The objects below one prefix of a bucket of S3, or of a service that speaks its protocol, such as MinIO or SeaweedFS.

Endpoint, region and credentials are those of the AWS SDKs: `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, profiles, roles.
The tag of a version is its ETag. The crc32c is kept by the service, and in the metadata for a service that keeps none.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from botocore import exceptions as boto

from ur4rec.storage.checksums import crc32c_of
from ur4rec.storage.objects import (
    CHUNK_BYTES,
    NO_OBJECT,
    PARALLEL_TRANSFERS,
    PROBE,
    Location,
    ObjectReplacedError,
    ObjectStore,
    StoredObject,
    StoreError,
    in_parallel,
)
from ur4rec.storage.s3_client import GONE, Client, DamagedTransferError, UnreachableError, code_of, explain, unless

PATIENCE_S = 120.0
ATTEMPTS = 4
"""Times that an object is transferred whose bytes arrive damaged."""
MOST_AT_ONCE_BYTES = 5 << 30
"""Larger files are sent in parts: Amazon takes no more in one request, the only way that all services make atomic."""
PART_BYTES = 64 << 20
"""One part at least; one is in memory at a time."""
MOST_PARTS = 10_000
CRC32C = "crc32c"
"""Name of the metadata."""
MD5 = re.compile(r'"[0-9a-f]{32}"')
DAMAGED = {
    *("BadDigest", "InvalidDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"),
    *("InvalidPart", "NoSuchUpload"),  # the service has forgotten an upload in parts
}
"""Codes of content that did not arrive as it was sent."""
IGNORES = (
    "the service ignores the precondition {} of a request, without which writers would overwrite each other; "
    "use a release of it that heeds preconditions, or another service"
)


class S3Store(ObjectStore):
    """The objects below a prefix.

    Failures that may pass (408, 429, 5xx, dropped connections, timeouts) are retried for `patience_s` seconds, with
    growing pauses, and so are bytes that arrive damaged. What will not pass (a missing bucket, no permission, no
    credentials) is raised at once, as a `StoreError`, and a service that never answers is given up sooner. A service
    that ignores preconditions is refused by what writes.
    """

    _proven: ClassVar[set[str]] = set()
    """Buckets of which this process knows that they heed preconditions."""

    def __init__(self, location: Location, patience_s: float = PATIENCE_S) -> None:
        self.location = location
        self._patience_s = patience_s
        self._folder = f"{location.prefix}/" if location.prefix else ""
        with self._explaining("use"):
            self._client = Client(location, patience_s)

    def list_objects(self, deep: bool = False) -> list[StoredObject]:
        """Return all objects below the prefix, by name."""
        found = [entry for page in self._list("" if deep else "/") for entry in page.get("Contents", [])]
        named = {entry["Key"].removeprefix(self._folder): entry for entry in found if not entry["Key"].endswith("/")}
        return [
            StoredObject(name, entry["ETag"], entry["Size"], entry["LastModified"].timestamp(), "")
            for name, entry in sorted(named.items())
        ]

    def list_folders(self) -> list[str]:
        """Return the names of the folders directly below the prefix."""
        found = [entry["Prefix"] for page in self._list("/") for entry in page.get("CommonPrefixes", [])]
        return sorted(prefix.removeprefix(self._folder).rstrip("/") for prefix in found)

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return the content of a small object and its tag; None where there is no such object."""
        with self._explaining("read"):
            for _ in range(ATTEMPTS):
                found = self._get(name)
                if found is None:
                    return None
                content, answer = found
                if _is_whole(content, answer):
                    return content, answer["ETag"]
            raise _damaged(self._folder + name)

    def find_crc32c(self, stored: StoredObject) -> str:
        """Return the checksum of this version; empty where whoever made it left none."""
        if stored.crc32c:
            return stored.crc32c
        with self._explaining("read"):
            answer = self._head(stored.name, IfMatch=stored.tag)
            return _checksum_of(answer) if answer else ""

    def replace(self, name: str, content: bytes | Path, tag: str, crc32c: str = "") -> StoredObject:
        """Create an object in the place of one version of it; one that has the content already will do."""
        crc32c = crc32c or crc32c_of(content)
        size_bytes = len(content) if isinstance(content, bytes) else content.stat().st_size
        with self._explaining("create"):
            self._prove_preconditions()
            answer = self._upload(self._folder + name, content, crc32c, tag)
            if answer is None:
                answer = self._head(name)
                if answer is None or (_checksum_of(answer), answer["ContentLength"]) != (crc32c, size_bytes):
                    raise ObjectReplacedError(f"{self.location / name}: another writer was faster")
        return StoredObject(name, answer["ETag"], size_bytes, _time_of(answer), crc32c)

    def fetch(self, stored: StoredObject, target: Path) -> bool:
        """Copy this version of an object into a file; return whether it is still there."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._explaining("read"):
            for _ in range(ATTEMPTS):
                answer = self._copy(stored, target)
                if answer is None:
                    target.unlink(missing_ok=True)
                    return False
                if target.stat().st_size == stored.size_bytes and _is_whole(target, answer):
                    return True
            raise _damaged(self._folder + stored.name)

    def delete(self, objects: Iterable[StoredObject]) -> None:
        """Delete these very versions; what is gone or was replaced is left alone."""

        def remove(stored: StoredObject) -> None:
            with unless(GONE):
                self._client.ask("delete_object", Key=self._folder + stored.name, IfMatch=stored.tag)

        with self._explaining("delete"):
            in_parallel(remove, objects)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _list(self, delimiter: str) -> Iterator[dict[str, Any]]:
        token: dict[str, str] = {}
        with self._explaining("list"):
            while True:
                page = self._client.ask("list_objects_v2", Prefix=self._folder, Delimiter=delimiter, **token)
                yield page
                if not page.get("IsTruncated"):
                    return
                token = {"ContinuationToken": page["NextContinuationToken"]}

    def _head(self, name: str, **condition: str) -> dict[str, Any] | None:
        with unless(GONE):
            return self._client.ask("head_object", Key=self._folder + name, ChecksumMode="ENABLED", **condition)
        return None

    def _get(self, name: str, **parameters: str) -> tuple[bytes, dict[str, Any]] | None:
        with unless(GONE):
            answer = self._client.ask("get_object", Key=self._folder + name, **parameters)
            return answer.pop("Body"), answer
        return None

    def _copy(self, stored: StoredObject, target: Path) -> dict[str, Any] | None:
        """Copy a version, in chunks where it is large; return what the service says of it, None where it is gone."""
        if stored.size_bytes <= CHUNK_BYTES:
            found = self._get(stored.name, IfMatch=stored.tag)
            target.write_bytes(found[0] if found else b"")
            return found and found[1]

        def copy(begin: int) -> bool:
            span = f"bytes={begin}-{min(begin + CHUNK_BYTES, stored.size_bytes) - 1}"
            found = self._get(stored.name, IfMatch=stored.tag, Range=span)
            if found:
                os.pwrite(file.fileno(), found[0][:CHUNK_BYTES], begin)
            return found is not None

        with target.open("wb") as file:
            are_there = in_parallel(copy, range(0, stored.size_bytes, CHUNK_BYTES), PARALLEL_TRANSFERS)
        return self._head(stored.name, IfMatch=stored.tag) if all(are_there) else None

    def _upload(self, key: str, content: bytes | Path, crc32c: str, tag: str) -> dict[str, Any] | None:
        """Create or replace an object; None where another version is there."""
        condition = {"IfNoneMatch": "*"} if tag == NO_OBJECT else {"IfMatch": tag}
        reason = ""
        for _ in range(ATTEMPTS):
            try:
                with unless(GONE):
                    return self._send(key, content, crc32c, condition)
                return None
            except DamagedTransferError as error:
                reason = str(error)
            except boto.ClientError as error:
                if code_of(error) not in DAMAGED:
                    raise
                reason = code_of(error)
        raise DamagedTransferError(f"{key}: refused or damaged on its way, {ATTEMPTS} times: {reason}")

    def _send(self, key: str, content: bytes | Path, crc32c: str, condition: dict[str, str]) -> dict[str, Any]:
        if isinstance(content, Path) and content.stat().st_size > MOST_AT_ONCE_BYTES:
            return self._send_parts(key, content, crc32c, condition)
        sums, metadata = _take_checksums(content), {CRC32C: crc32c}
        _compare(sums["ChecksumCRC32C"], crc32c)
        return self._client.ask("put_object", Key=key, Body=content, Metadata=metadata, **sums, **condition)

    def _send_parts(self, key: str, file: Path, crc32c: str, condition: dict[str, str]) -> dict[str, Any]:
        kind = {"ChecksumType": "FULL_OBJECT"}
        begun = self._client.ask(
            "create_multipart_upload", Key=key, ChecksumAlgorithm="CRC32C", Metadata={CRC32C: crc32c}, **kind
        )
        upload = {"Key": key, "UploadId": begun["UploadId"]}
        try:
            parts = []
            for number, part in enumerate(_read_parts(file), start=1):
                sums = _take_checksums(part)
                answer = self._client.ask("upload_part", Body=part, PartNumber=number, **sums, **upload)
                parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32C": sums["ChecksumCRC32C"]})
            _compare(crc32c_of(file), crc32c)
            whole = {"MultipartUpload": {"Parts": parts}, "ChecksumCRC32C": crc32c, **kind}
            return self._client.ask("complete_multipart_upload", **whole, **upload, **condition)
        except BaseException:
            with suppress(boto.BotoCoreError, boto.ClientError, UnreachableError):
                self._client.ask("abort_multipart_upload", **upload)
            raise

    def _prove_preconditions(self) -> None:
        """Refuse a service that ignores preconditions: there, writers would overwrite each other."""
        bucket = f"{self._client.endpoint}/{self.location.bucket}"
        if bucket in self._proven:
            return
        probe = {"Key": f"{self._folder}{PROBE}/{secrets.token_hex(8)}"}
        try:
            with unless(GONE):  # there after an answer that was lost
                self._client.ask("put_object", Body=b"", IfNoneMatch="*", **probe)
            for condition in ({"IfNoneMatch": "*"}, {"IfMatch": f'"{"0" * 32}"'}):
                with unless(GONE):
                    self._client.ask("put_object", Body=b"other", **probe, **condition)
                    raise StoreError(f"{self.location}: {IGNORES.format(next(iter(condition)))}")
        finally:
            self._client.ask("delete_object", **probe)
        self._proven.add(bucket)

    @contextmanager
    def _explaining(self, verb: str) -> Iterator[None]:
        """Turn the client's exceptions into one line each."""
        try:
            yield
        except (boto.BotoCoreError, boto.ClientError, DamagedTransferError, UnreachableError) as error:
            raise StoreError(f"{self.location}: {explain(error, verb, self._patience_s)}") from None


def _take_checksums(body: bytes | Path) -> dict[str, str]:
    """Return what the service compares a body with: all know the MD5."""
    return {"ContentMD5": base64.b64encode(_md5_of(body).digest()).decode(), "ChecksumCRC32C": crc32c_of(body)}


def _md5_of(content: bytes | Path) -> hashlib._Hash:
    if isinstance(content, bytes):
        return hashlib.md5(content, usedforsecurity=False)
    with content.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False))


def _compare(crc32c: str, expected: str) -> None:
    if crc32c != expected:
        raise DamagedTransferError(f"crc32c {crc32c} instead of {expected}")


def _checksum_of(answer: dict[str, Any]) -> str:
    """Return the crc32c of a whole object, as the service or else its maker says; empty where neither does."""
    crc32c = str(answer.get("ChecksumCRC32C", ""))
    if not crc32c or "-" in crc32c:  # of parts
        crc32c = str(answer.get("Metadata", {}).get(CRC32C, ""))
    return crc32c


def _is_whole(content: bytes | Path, answer: dict[str, Any]) -> bool:
    """Compare with the crc32c, or else with the ETag where it is an MD5: that of an object of another maker."""
    if crc32c := _checksum_of(answer):
        return crc32c_of(content) == crc32c
    is_encrypted = "SSECustomerAlgorithm" in answer or "kms" in answer.get("ServerSideEncryption", "")
    if is_encrypted or not MD5.fullmatch(answer["ETag"]):
        return True
    return bool(answer["ETag"] == f'"{_md5_of(content).hexdigest()}"')


def _read_parts(file: Path) -> Iterator[bytes]:
    size = max(PART_BYTES, -(-file.stat().st_size // MOST_PARTS))
    with file.open("rb") as opened:
        while part := opened.read(size):
            yield part


def _time_of(answer: dict[str, Any]) -> float:
    """Return the time of an answer by the service's clock."""
    told = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(told).timestamp() if told else time.time()


def _damaged(key: str) -> DamagedTransferError:
    return DamagedTransferError(f"{key}: its bytes do not have the crc32c of the object, or its MD5, {ATTEMPTS} times")
