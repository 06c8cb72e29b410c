"""One object of Google Cloud Storage to a file, a file to an object: in chunks, several at a time, every byte checked.

Threads rather than processes: reading a chunk at once leaves little work to the interpreter. A pool of processes took
two to three times as long to fetch as much, and no less to send it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from google.api_core.exceptions import (
    BadRequest,
    Forbidden,
    GoogleAPIError,
    NotFound,
    PreconditionFailed,
    Unauthorized,
)
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage
from google.cloud.storage import transfer_manager
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY
from requests import RequestException
from urllib3.exceptions import HTTPError

from ur4rec.storage.objects import CHUNK_BYTES, PARALLEL_TRANSFERS

UPLOAD_CHUNK_BYTES = 64 << 20
"""The part of an uploaded file that is in memory at a time, and that is sent again when it gets lost."""
CONTENT_TYPE = "application/octet-stream"
ATTEMPTS = 4
"""Times that an object is transferred whose bytes arrive damaged."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 30.0
"""Between two attempts; each pause is a random part of one twice as long as the one before."""
LONGEST_REASON = 300


class DamagedTransferError(Exception):
    """Bytes that arrived damaged each time."""


def connect(patience_s: float) -> tuple[storage.Client, Retry]:
    """Return a client, and how long and how often it tries what may pass."""
    retry = DEFAULT_RETRY.with_timeout(patience_s).with_delay(FIRST_PAUSE_S, LONGEST_PAUSE_S)
    return storage.Client(project=None), retry


def upload(blob: storage.Blob, content: bytes | Path, crc32c: str, generation: int, retry: Retry) -> bool:
    """Create or replace an object, and make sure that the service holds what was meant.

    Args:
        blob: The object; knows its version afterwards.
        content: Bytes, or a file with them.
        crc32c: Of the content, in base64; the service refuses other bytes, and its answer is compared.
        generation: The version to replace; 0: there must be none.
        retry: For failures that may pass.

    Returns:
        Whether it was done; not where another version is there.

    Raises:
        NotFound: There is no such bucket.
        DamagedTransferError: The service never held these bytes; nothing of them is left.
    """
    reason = ""
    for attempt in range(ATTEMPTS):
        try:
            _send(blob, content, crc32c, generation, retry)
        except PreconditionFailed:
            return False
        except NotFound:  # the service has forgotten an upload in parts, or there is no bucket
            if attempt == ATTEMPTS - 1:
                raise
            continue
        except (BadRequest, ValueError) as error:  # refused as damaged; out of step after a part of a chunk got lost
            reason = str(error)
            continue
        if blob.crc32c == crc32c:
            return True
        reason, generation = f"crc32c {blob.crc32c} instead of {crc32c}", int(blob.generation)
    if generation == blob.generation:
        delete(blob, generation, retry)
    raise DamagedTransferError(f"{blob.name}: refused or damaged on its way, {ATTEMPTS} times: {reason}")


def download(blob: storage.Blob, size_bytes: int, target: Path, retry: Retry) -> bool:
    """Copy an object into a file and compare its crc32c; return whether the object is still there.

    Raises:
        DamagedTransferError: The bytes never had the crc32c that the service has for them.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(ATTEMPTS):
        with suppress(DataCorruption):
            try:
                if size_bytes <= CHUNK_BYTES:
                    blob.download_to_filename(str(target), checksum="crc32c", single_shot_download=True, retry=retry)
                else:
                    _download_chunks(blob, target, retry)
            except NotFound:
                target.unlink(missing_ok=True)
                return False
            return True
    raise _damaged(blob)


def read(blob: storage.Blob, retry: Retry) -> bytes | None:
    """Return the content of a small object, whose version `blob` knows afterwards; None where there is none.

    Raises:
        NotFound: There is no such bucket.
        DamagedTransferError: The bytes never had the crc32c that the service has for them.
    """
    for _ in range(ATTEMPTS):
        with suppress(DataCorruption):
            try:
                content: bytes = blob.download_as_bytes(checksum="crc32c", single_shot_download=True, retry=retry)
            except NotFound:
                list(blob.client.list_blobs(blob.bucket, max_results=1, retry=retry))  # is there a bucket?
                return None
            return content
    raise _damaged(blob)


def delete(blob: storage.Blob, generation: int, retry: Retry) -> None:
    """Delete one version of an object; what is gone or was replaced is left alone."""
    with suppress(NotFound, PreconditionFailed):
        blob.delete(if_generation_match=generation, retry=retry)


def explain(error: Exception, verb: str, patience_s: float) -> str | None:
    """Tell why `verb` failed and what to do; None where the service is not the reason."""
    reason = " ".join(str(error).split())[:LONGEST_REASON]
    match error:
        case NotFound():
            return "no such bucket; create it or correct its name"
        case Forbidden() | Unauthorized():
            role = "expected a role such as roles/storage.objectUser on the bucket"
            return f"not allowed to {verb} objects; {role} ({reason})"
        case GoogleAuthError():
            step = "run `gcloud auth application-default login` or set GOOGLE_APPLICATION_CREDENTIALS"
            return f"no usable Google credentials; {step} ({reason})"
        case DamagedTransferError():
            return f"could not {verb} {error}"
        case GoogleAPIError() | RequestException() | HTTPError():
            tried = f"transient failures having been retried for {patience_s:g} s"
            return f"could not {verb} objects, {tried} ({reason})"
    return None


def _send(blob: storage.Blob, content: bytes | Path, crc32c: str, generation: int, retry: Retry) -> None:
    """Send without another checksum: the library's own comparison after a file deletes whichever version is there."""
    if isinstance(content, Path) and content.stat().st_size <= CHUNK_BYTES:
        content = content.read_bytes()
    if isinstance(content, bytes):
        blob.crc32c = crc32c  # sent along: the service compares
        blob.upload_from_string(content, CONTENT_TYPE, if_generation_match=generation, checksum=None, retry=retry)
        return
    blob.chunk_size = UPLOAD_CHUNK_BYTES
    blob.upload_from_filename(
        str(content),
        CONTENT_TYPE,
        if_generation_match=generation,
        checksum=None,
        crc32c_checksum_value=crc32c,
        retry=retry,
    )


def _download_chunks(blob: storage.Blob, target: Path, retry: Retry) -> None:
    blob.reload(retry=retry)
    transfer_manager.download_chunks_concurrently(
        blob,
        str(target),
        chunk_size=CHUNK_BYTES,
        worker_type=transfer_manager.THREAD,
        max_workers=PARALLEL_TRANSFERS,
        download_kwargs={"single_shot_download": True, "retry": retry},
    )


def _damaged(blob: storage.Blob) -> DamagedTransferError:
    return DamagedTransferError(f"{blob.name}: its bytes do not have the crc32c of the object, {ATTEMPTS} times")
