"""Answers paid for once: a store keyed by content, shared between runs and machines.

A location is a folder or `gs://bucket/prefix`. Writers only ever append, each to files or objects of its own, so any
number of them may work at once and a killed one loses nothing that was stored. What others store while a cache is open
is seen at the next opening.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ur4rec.storage.inputs import is_cloud
from ur4rec.text.llm.answer_index import AnswerIndex
from ur4rec.text.llm.cached_answers import CachedAnswer, CacheError, encode_line
from ur4rec.text.llm.segments import LocalSegments, Placement, SegmentStore

__all__ = ["AnswerCache", "CacheError", "CachedAnswer", "open_cache"]


def open_cache(location: str, create: bool = True) -> AnswerCache:
    """Opens a cache; close it or use it as a context manager.

    Args:
        location: A folder, or `gs://bucket/prefix`.
        create: Whether a folder that is not there is made; without it nothing can be stored in one.

    Raises:
        CacheError: The location cannot be read or written; says what to do.
    """
    if not is_cloud(location):
        if "://" in location:
            raise CacheError(f"{location!r}: expected a folder or gs://bucket/prefix")
        return AnswerCache(location, LocalSegments(Path(location).expanduser(), create))
    from ur4rec.text.llm.cloud_segments import CloudSegments  # its client takes a second to import

    return AnswerCache(location, CloudSegments(location))


class AnswerCache:
    """Key → answer. Methods are called from one thread, that of the event loop where there is one.

    Args:
        location: For messages.
        store: Keeps the lines; closed with the cache.

    Raises:
        CacheError: The store cannot be read.
    """

    def __init__(self, location: str, store: SegmentStore) -> None:
        self.location = location
        self._store = store
        self._index = AnswerIndex(location)
        self._segments: dict[Path, int] = {}
        self._waiting: _Group | None = None
        self._newest: asyncio.Task[None] | None = None
        self._writing = threading.Lock()
        self._is_closed = False
        self._load()

    @property
    def skipped_lines(self) -> int:
        """Torn or corrupt lines that the opening left out, one that another process was just writing among them."""
        return self._index.skipped_lines

    def __len__(self) -> int:
        """Entries, those among them that expired since the opening."""
        return len(self._index)

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def get(self, key: str) -> CachedAnswer | None:
        """The answer of a key, read from disk; None where there is none or it has expired.

        Args:
            key: sha256 of the request, in hexadecimal.

        Raises:
            CacheError: The file that holds it has gone, or the cache is closed.
        """
        self._check_open()
        return self._index.get(key, time.time())

    async def put(self, answer: CachedAnswer) -> None:
        """Stores an answer; it is durable when this returns.

        All answers that wait while a group is being written become the next group: one fsync, or one object. An answer
        over which the present one takes precedence is not stored.

        Raises:
            CacheError: The group could not be written; every `put` that waits for it raises the same.
        """
        present = self.get(answer.key)
        if present and present.precedence <= answer.precedence:
            return
        group = self._join_group()
        group.answers.append(answer)
        assert group.task is not None
        await asyncio.shield(group.task)  # one caller that is cancelled must not take the others with it

    def close(self) -> None:
        """Waits for a group that is being written, and closes the store."""
        with self._writing:
            if not self._is_closed:
                self._is_closed = True
                self._index.close()
                self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _load(self) -> None:
        try:
            for path in self._store.open():
                self._index.load(path, time.time())
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise CacheError(
                    f"{self.location}: cannot be read ({error.strerror}); correct its permissions"
                ) from None
            raise

    def _join_group(self) -> _Group:
        group = self._waiting
        if group is None or group.task is None or group.task.done():  # done: its event loop ended before it began
            group = self._waiting = _Group()
            group.task = self._newest = asyncio.create_task(self._commit(group, self._newest))
        return group

    async def _commit(self, group: _Group, previous: asyncio.Task[None] | None) -> None:
        if previous and not previous.done():
            await asyncio.wait([previous])
        self._waiting = None  # from here on answers join the next group
        placement = await asyncio.to_thread(self._write, [encode_line(answer) for answer in group.answers])
        if placement.path not in self._segments:
            self._segments[placement.path] = self._index.add_segment(placement.path)
        segment = self._segments[placement.path]
        for answer, offset in zip(group.answers, placement.offsets, strict=True):
            self._index.add(answer, segment, offset, time.time())

    def _write(self, lines: Sequence[bytes]) -> Placement:
        with self._writing:
            self._check_open()
            return self._store.append(lines)

    def _check_open(self) -> None:
        if self._is_closed:
            raise CacheError(f"{self.location}: the cache is closed; open it again")


class _Group:
    """Answers that are stored together."""

    def __init__(self) -> None:
        self.answers: list[CachedAnswer] = []
        self.task: asyncio.Task[None] | None = None
