"""Answers below a prefix in cloud storage that several machines may share, read through a local copy.

Each group of answers becomes an object `<writer>-<number>.jsonl`, created under the condition that there is none. When
a writer closes, it merges its objects into one and deletes them. The name of a merged object sorts after the names of
its parts, and it exists before the first of them goes: a listing, which is made in the order of names, either holds all
the parts or the merged object, and a reader who finds a listed part gone lists again.

An upload begins as soon as the one before it is done, so a killed writer loses the answers of two uploads at most.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from ur4rec.storage.objects import ObjectExistsError, StoredObject, StoreError
from ur4rec.storage.stores import open_store
from ur4rec.storage.temporaries import scratch_folder
from ur4rec.text.llm.store import SUFFIX, AnswerCache, CachedAnswer, CacheError, decode_line, encode_line

MOST_LISTINGS = 20
LEFTOVER_AGE_S = 3600.0
"""Small objects older than this are merged: their writer was killed or is done; a slow one takes no harm."""
LEFTOVER_BYTES = 8 << 20
FEWEST_LEFTOVERS = 16
MERGED = f"merged{SUFFIX}"  # sorts after the digits of the parts
NAME = re.compile(rf"(\d{{13}})-.+{re.escape(SUFFIX)}")
"""Names of our own making; only these are ever merged."""


class CloudCache(AnswerCache):
    """A cache below a prefix. What others store while it is open is seen at the next opening.

    Args:
        location: `gs://bucket/prefix` or `s3://bucket/prefix`.
        leftover_age_s: Age from which small objects of other writers are merged when this one closes.

    Raises:
        CacheError: The location is malformed, there are no credentials, or the bucket is missing, may not be read or
            cannot be reached.
    """

    def __init__(self, location: str, leftover_age_s: float = LEFTOVER_AGE_S) -> None:
        self._writer_name = _name_writer()
        self._num_groups = 0
        self._own: list[StoredObject] = []
        self._leftovers: list[StoredObject] = []
        with ExitStack() as stack:
            with _as_cache_error():
                self._prefix = open_store(location)
            stack.callback(self._prefix.close)
            self._spool = stack.enter_context(scratch_folder("answers"))
            listed = self._download()
            self._resources = stack
            super().__init__(location, self._spool, is_scratch=True)
            self._leftovers = _find_leftovers(listed, time.time() - leftover_age_s)
            self._resources = stack.pop_all()

    def close(self) -> None:
        """Merges own objects into one, and those that killed writers left; a failure to do so is only logged."""
        was_closed = self._is_closed
        super().close()
        if was_closed:
            return
        try:
            if len(self._own) > 1:
                self._merge(self._own, f"{self._writer_name}-{MERGED}")
            if len(self._leftovers) >= FEWEST_LEFTOVERS:
                self._merge(self._leftovers, name_merged(self._leftovers))
        except StoreError as error:
            logging.getLogger(__name__).warning("small objects stay unmerged, nothing is lost: %s", error)
        finally:
            self._resources.close()

    def _write(self, answers: Sequence[CachedAnswer]) -> None:
        self._num_groups += 1  # a new name at each call: an upload that failed may yet have left an object
        path = self._spool / f"{self._writer_name}-{self._num_groups:08d}{SUFFIX}"
        try:
            path.write_bytes(b"".join(map(encode_line, answers)))
        except OSError as error:
            raise CacheError(f"{self._spool}: cannot be written to ({error.strerror}); free some space") from None
        with _as_cache_error():
            self._own.append(self._prefix.upload_new(path.name, path))
        super()._write(answers)

    def _download(self) -> list[StoredObject]:
        """Copies every object into the spool."""
        downloaded: set[str] = set()
        for _ in range(MOST_LISTINGS):
            with _as_cache_error():
                listed = [stored for stored in self._prefix.list_objects() if stored.name.endswith(SUFFIX)]
                missing = [stored for stored in listed if stored.name not in downloaded]
                vanished = {stored.name for stored in self._prefix.download(missing, self._spool)}
            downloaded |= {stored.name for stored in missing} - vanished
            if not vanished:
                return listed
        raise CacheError(f"{self._prefix.location}: objects vanish as fast as they are listed; is something deleting?")

    def _merge(self, parts: Sequence[StoredObject], name: str) -> None:
        """Replaces objects by one with their unexpired answers, unless a line is not understood.

        The name of merged leftovers is a function of them, so of several that try at once one succeeds and the others
        leave it to it.
        """
        with (self._spool / name).open("xb") as merged:
            for part in sorted(stored.name for stored in parts):
                for answer in map(decode_line, (self._spool / part).read_bytes().splitlines(keepends=True)):
                    if answer is None:  # corrupt, or written by a later release: not ours to drop
                        return
                    if not answer.is_expired(time.time()):
                        merged.write(encode_line(answer))
        with suppress(ObjectExistsError):
            self._prefix.upload_new(name, self._spool / name)
            self._prefix.delete(parts)


def name_merged(parts: Iterable[StoredObject]) -> str:
    """The name of the object that replaces others: a function of them that sorts after each of their names."""
    versions = sorted((stored.name, stored.tag) for stored in parts)
    newest = NAME.fullmatch(versions[-1][0])
    assert newest is not None
    digest = hashlib.sha256(repr(versions).encode()).hexdigest()[:16]
    return f"{int(newest[1]) + 1:013d}-{digest}-{MERGED}"


def _find_leftovers(listed: Iterable[StoredObject], limit_s: float) -> list[StoredObject]:
    small = (stored for stored in listed if stored.size_bytes < LEFTOVER_BYTES and NAME.fullmatch(stored.name))
    return [stored for stored in small if stored.created_at_s < limit_s]


def _name_writer() -> str:
    """A name that no other writer has, and that sorts by time: milliseconds, host, process, chance."""
    host = re.sub("[^a-z0-9]+", "-", socket.gethostname().lower()).strip("-")[:40]
    return f"{time.time_ns() // 10**6:013d}-{host}-{os.getpid()}-{secrets.token_hex(8)}"


@contextmanager
def _as_cache_error() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise CacheError(str(error)) from None
