"""A store that keeps its objects in memory, for tests."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from pathlib import Path

from ur4rec.storage.checksums import crc32c_of
from ur4rec.storage.objects import NO_OBJECT, Location, ObjectReplacedError, ObjectStore, StoredObject, StoreError

Bucket = dict[str, tuple[bytes, StoredObject]]
"""Whole name of an object → its content and what is known of it."""


class MemoryStore(ObjectStore):
    """The objects of some buckets below a prefix; stores of the same buckets see each other's objects."""

    _numbers = itertools.count(1)

    def __init__(self, location: Location, buckets: dict[str, Bucket]) -> None:
        self.location = location
        self._buckets = buckets
        self._folder = f"{location.prefix}/" if location.prefix else ""

    def list_objects(self, deep: bool = False) -> list[StoredObject]:
        below = (
            (name.removeprefix(self._folder), name) for name in sorted(self._bucket) if name.startswith(self._folder)
        )
        return [self._describe(whole) for name, whole in below if deep or "/" not in name]

    def list_folders(self) -> list[str]:
        names = (name.removeprefix(self._folder) for name in self._bucket if name.startswith(self._folder))
        return sorted({name.partition("/")[0] for name in names if "/" in name})

    def read(self, name: str) -> tuple[bytes, str] | None:
        if self._folder + name not in self._bucket:
            return None
        content, stored = self._bucket[self._folder + name]
        return content, stored.tag

    def number(self, tag: str) -> int:
        return int(tag)

    def replace(self, name: str, content: bytes | Path, tag: str, crc32c: str = "") -> StoredObject:
        whole, content = self._folder + name, content if isinstance(content, bytes) else content.read_bytes()
        found = self._bucket.get(whole)
        if (found[1].tag if found else NO_OBJECT) != tag:
            if found is None or found[0] != content:
                raise ObjectReplacedError(f"{self.location / name}: another writer was faster")
            return self._describe(whole)
        if crc32c and crc32c != crc32c_of(content):
            raise StoreError(f"{self.location}: could not create {whole}: damaged on its way")
        stored = StoredObject(whole, str(next(self._numbers)), len(content), time.time(), crc32c_of(content))
        self._bucket[whole] = content, stored
        return self._describe(whole)

    def fetch(self, stored: StoredObject, target: Path) -> bool:
        is_there = self._holds(stored)
        if is_there:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self._bucket[self._folder + stored.name][0])
        return is_there

    def delete(self, objects: Iterable[StoredObject]) -> None:
        for stored in objects:
            if self._holds(stored):
                del self._bucket[self._folder + stored.name]

    def close(self) -> None:
        return

    @property
    def _bucket(self) -> Bucket:
        if self.location.bucket not in self._buckets:
            raise StoreError(f"{self.location}: no such bucket; create it or correct its name")
        return self._buckets[self.location.bucket]

    def _holds(self, stored: StoredObject) -> bool:
        found = self.read(stored.name)
        return found is not None and found[1] == stored.tag

    def _describe(self, whole: str) -> StoredObject:
        stored = self._bucket[whole][1]
        name = whole.removeprefix(self._folder)
        return StoredObject(name, stored.tag, stored.size_bytes, stored.created_at_s, stored.crc32c)
