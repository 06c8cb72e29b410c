"""One object of Google Cloud Storage to a file, a file to an object: in chunks, several at a time, every byte checked.

Threads rather than processes: reading a chunk at once leaves little work to the interpreter. A pool of processes took
two to three times as long to fetch as much, and no less to send it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from google.api_core.exceptions import BadRequest, NotFound, PreconditionFailed
from google.api_core.retry import Retry
from google.cloud import storage
from google.cloud.storage import transfer_manager
from google.cloud.storage.exceptions import DataCorruption

from ur4rec.storage.objects import CHUNK_BYTES, PARALLEL_TRANSFERS

UPLOAD_CHUNK_BYTES = 64 << 20
"""The part of an uploaded file that is in memory at a time, and that is sent again when it gets lost."""
CONTENT_TYPE = "application/octet-stream"
ATTEMPTS = 4
"""Times that an object is transferred whose bytes arrive damaged."""


class DamagedTransferError(Exception):
    """Bytes that arrived damaged each time."""


def upload(
    blob: storage.Blob, content: bytes | Path, crc32c: str, generation: int, retry: Retry, attempts: int = ATTEMPTS
) -> None:
    """Create or replace an object, and make sure that the service holds what was meant.

    Args:
        blob: The object; knows its version afterwards.
        content: Bytes, or a file with them.
        crc32c: Of the content, in base64; the service refuses other bytes, and its answer is compared.
        generation: The version to replace; 0: there must be none.
        retry: For failures that may pass.
        attempts: Times that bytes are sent which arrive damaged.

    Raises:
        PreconditionFailed: Another version is there.
        NotFound: There is no such bucket.
        DamagedTransferError: The service never held these bytes; nothing of them is left.
    """
    reason = ""
    for attempt in range(attempts):
        try:
            _send(blob, content, crc32c, generation, retry)
        except NotFound:  # the service has forgotten an upload in parts, or there is no bucket
            if attempt == attempts - 1:
                raise
            continue
        except (BadRequest, ValueError) as error:  # refused as damaged; out of step after a part of a chunk got lost
            reason = str(error)
            continue
        if blob.crc32c == crc32c:
            return
        reason, generation = f"crc32c {blob.crc32c} instead of {crc32c}", int(blob.generation)
    if generation == blob.generation:
        with suppress(NotFound, PreconditionFailed):
            blob.delete(if_generation_match=generation, retry=retry)
    raise DamagedTransferError(f"{blob.name}: refused or damaged on its way, {attempts} times: {reason}")


def download(blob: storage.Blob, size_bytes: int, target: Path, retry: Retry) -> None:
    """Copy an object into a file and compare its crc32c; what is there is replaced.

    Raises:
        NotFound: The object is gone.
        DamagedTransferError: The bytes never had the crc32c that the service has for them.
    """
    for _ in range(ATTEMPTS):
        with suppress(DataCorruption):
            if size_bytes <= CHUNK_BYTES:
                blob.download_to_filename(str(target), checksum="crc32c", single_shot_download=True, retry=retry)
            else:
                _download_chunks(blob, target, retry)
            return
    raise _damaged(blob)


def read(blob: storage.Blob, retry: Retry) -> bytes:
    """Return the content of a small object; `blob` knows afterwards which version has it.

    Raises:
        NotFound: There is no such object.
        DamagedTransferError: The bytes never had the crc32c that the service has for them.
    """
    for _ in range(ATTEMPTS):
        with suppress(DataCorruption):
            content: bytes = blob.download_as_bytes(checksum="crc32c", single_shot_download=True, retry=retry)
            return content
    raise _damaged(blob)


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
