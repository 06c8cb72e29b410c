"""Immutable objects of answers below a `gs://` prefix, read through a local spool.

Each group of lines becomes an object `<writer>-<number>.jsonl`, created under the condition that there is none. When a
writer closes, it merges its objects into one and deletes them. The name of a merged object sorts after the names of its
parts, and it exists before the first of them goes: a listing, which is made in the order of names, either holds all the
parts or the merged object, and a reader who finds a listed part gone lists again.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ur4rec.storage.gcs import GcsError, GcsLocation, GcsPrefix, ObjectExistsError, StoredObject
from ur4rec.storage.temporaries import scratch_folder
from ur4rec.text.llm.answer_index import AnswerIndex
from ur4rec.text.llm.cached_answers import CacheError
from ur4rec.text.llm.segments import SUFFIX, Placement, SegmentFile, name_segment

MOST_LISTINGS = 20
LEFTOVER_AGE_S = 3600.0
"""Small objects older than this are merged: their writer was killed or is done; a slow one takes no harm."""
LEFTOVER_BYTES = 8 << 20
FEWEST_LEFTOVERS = 16
MERGED = f"merged{SUFFIX}"  # sorts after the digits of the parts
NAME = re.compile(rf"(\d{{13}})-.+{re.escape(SUFFIX)}")
"""Names of our own making; only these are ever merged."""


@dataclass
class _OwnObjects:
    """What this writer has created, and a local copy of it."""

    writer: str = field(default_factory=name_segment)
    num_groups: int = 0
    parts: list[StoredObject] = field(default_factory=list)
    spooled: SegmentFile | None = None

    def name_next(self) -> str:
        """A new name at each call: an upload that failed may yet have left an object."""
        self.num_groups += 1
        return f"{self.writer}-{self.num_groups:08d}{SUFFIX}"

    def open_spooled(self, folder: Path) -> SegmentFile:
        if self.spooled is None:
            self.spooled = SegmentFile(folder / f"{self.writer}-{MERGED}")
        return self.spooled


class CloudSegments:
    """Segments below a prefix that several machines may share.

    Args:
        location: `gs://bucket/prefix`.
        leftover_age_s: Age from which small objects of other writers are merged when this one closes.

    Raises:
        CacheError: The location is malformed, or there are no credentials.
    """

    def __init__(self, location: str, leftover_age_s: float = LEFTOVER_AGE_S) -> None:
        with _as_cache_error():
            self._prefix = GcsPrefix(GcsLocation.parse(location))
        self._leftover_age_s = leftover_age_s
        self._scratch = ExitStack()
        self._spool = self._scratch.enter_context(scratch_folder("answers"))
        self._leftovers: list[StoredObject] = []
        self._own = _OwnObjects()

    def open(self) -> list[Path]:
        """Downloads every object; the files live until `close`.

        Raises:
            CacheError: The bucket is missing, may not be read or cannot be reached.
        """
        folder = self._spool
        downloaded: dict[str, StoredObject] = {}
        for _ in range(MOST_LISTINGS):
            with _as_cache_error():
                listed = self._list()
                missing = [stored for name, stored in listed.items() if name not in downloaded]
                vanished = {stored.name for stored in self._prefix.download(missing, folder)}
            downloaded |= {name: stored for name, stored in listed.items() if name not in vanished}
            if not vanished:
                self._leftovers = self._find_leftovers(listed.values())
                return [folder / name for name in sorted(downloaded)]
        raise CacheError(f"{self._prefix.location}: objects vanish as fast as they are listed; is something deleting?")

    def append(self, lines: Sequence[bytes]) -> Placement:
        """Creates one object of these lines.

        Raises:
            CacheError: The bucket may not be written to or cannot be reached.
        """
        with _as_cache_error():
            self._own.parts.append(self._prefix.upload_new(self._own.name_next(), b"".join(lines)))
        try:
            return self._own.open_spooled(self._spool).append(lines)
        except OSError as error:
            self._own = _OwnObjects()
            raise CacheError(f"{self._spool}: cannot be written to ({error.strerror}); free some space") from None

    def close(self) -> None:
        """Merges own objects into one, and those that killed writers left; a failure to do so is only logged."""
        try:
            self._merge_own()
            self._merge_leftovers()
        except (GcsError, CacheError) as error:
            logging.getLogger(__name__).warning("small objects stay unmerged, nothing is lost: %s", error)
        finally:
            self._prefix.close()
            self._scratch.close()

    def _list(self) -> dict[str, StoredObject]:
        return {stored.name: stored for stored in self._prefix.list_objects() if stored.name.endswith(SUFFIX)}

    def _find_leftovers(self, listed: Iterable[StoredObject]) -> list[StoredObject]:
        limit_s = time.time() - self._leftover_age_s
        small = (stored for stored in listed if stored.size_bytes < LEFTOVER_BYTES and NAME.fullmatch(stored.name))
        return [stored for stored in small if stored.created_at_s < limit_s]

    def _merge_own(self) -> None:
        if self._own.spooled is None:
            return
        self._own.spooled.close()
        if len(self._own.parts) > 1:
            self._prefix.upload_new(self._own.spooled.path.name, self._own.spooled.path)
            self._prefix.delete(self._own.parts)

    def _merge_leftovers(self) -> None:
        """Replaces small objects by one with their unexpired entries, unless a line is not understood.

        Its name is a function of its parts, so of several that try at once one succeeds and the others leave it to it.
        """
        if len(self._leftovers) < FEWEST_LEFTOVERS:
            return
        merged = self._spool / name_merged(self._leftovers)
        if not self._write_merged(merged, sorted(stored.name for stored in self._leftovers)):
            return
        try:
            self._prefix.upload_new(merged.name, merged)
        except ObjectExistsError:
            return
        self._prefix.delete(self._leftovers)

    def _write_merged(self, merged: Path, names: list[str]) -> bool:
        index = AnswerIndex()
        for name in names:
            index.load(merged.parent / name, time.time())
        if index.skipped_lines:  # corrupt, or written by a later release: not ours to drop
            return False
        with merged.open("xb") as file:
            file.writelines(index.lines())
        index.close()
        return True


def name_merged(parts: Iterable[StoredObject]) -> str:
    """The name of the object that replaces others: a function of them that sorts after each of their names."""
    versions = sorted((stored.name, stored.generation) for stored in parts)
    newest = NAME.fullmatch(versions[-1][0])
    assert newest is not None
    digest = hashlib.sha256(repr(versions).encode()).hexdigest()[:16]
    return f"{int(newest[1]) + 1:013d}-{digest}-{MERGED}"


@contextmanager
def _as_cache_error() -> Iterator[None]:
    try:
        yield
    except GcsError as error:
        raise CacheError(str(error)) from None
