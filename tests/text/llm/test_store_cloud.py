"""The cache below a prefix in cloud storage, against the emulators."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from cache_writer import kill_after, make_answer, put_all, start_writer
from emulators import delete_bucket_of

from ur4rec.storage.objects import ObjectStore, StoredObject
from ur4rec.storage.stores import open_store
from ur4rec.text.llm.lookup import open_cache
from ur4rec.text.llm.store import AnswerCache, CacheError, encode_line
from ur4rec.text.llm.store_cloud import CloudCache, name_merged

pytestmark = pytest.mark.emulator


@pytest.fixture
def prefix(cloud: str) -> Iterator[ObjectStore]:
    prefix = open_store(f"{cloud}/answers")
    yield prefix
    prefix.close()


@pytest.fixture
def location(prefix: ObjectStore) -> str:
    return str(prefix.location)


def assert_holds(location: str, numbers: range) -> None:
    with open_cache(location) as cache:
        assert [cache.get(make_answer(number).key) for number in numbers] == [make_answer(n) for n in numbers]
        assert cache.skipped_lines == 0


def test_groups_are_objects_that_become_one(location: str, prefix: ObjectStore) -> None:
    odd = make_answer(600, text="\n\u2028 \ud800 \x00 千と千尋 🎬")
    with open_cache(location) as cache:
        for first in (0, 300):
            asyncio.run(put_all(cache, [make_answer(number) for number in range(first, first + 300)]))
        asyncio.run(cache.put(odd))
        parts = [stored.name for stored in prefix.list_objects()]
        assert len(parts) == 3
        assert cache.get(make_answer(5).key) == make_answer(5)
    (merged,) = prefix.list_objects()
    assert merged.name > max(parts)  # a listing in the order of names never misses both
    assert_holds(location, range(600))
    with open_cache(location) as cache:
        assert (cache.get(odd.key), len(cache)) == (odd, 601)


def test_reading_changes_nothing(location: str, prefix: ObjectStore) -> None:
    with open_cache(location) as cache:
        asyncio.run(cache.put(make_answer(0)))
    before = prefix.list_objects()
    assert_holds(location, range(1))
    assert prefix.list_objects() == before


def test_killed_writer_keeps_what_it_reported(location: str, tmp_path: Path) -> None:
    dice = random.Random(1)
    reported: set[str] = set()
    for kill in range(2):
        writer = start_writer(location, 5_000 * kill, 5_000 * kill + 5_000, 32, tmp_path)
        reported |= kill_after(writer, dice.randrange(1, 600))
    with open_cache(location) as cache:
        stored = {answer.key: answer for answer in map(make_answer, range(10_000))}
        assert [key for key in reported if cache.get(key) != stored[key]] == []
        assert cache.skipped_lines == 0


def test_two_writers_at_once(location: str, prefix: ObjectStore, tmp_path: Path) -> None:
    with start_writer(location, 0, 150, 4, tmp_path) as other:
        assert other.stdout
        other.stdout.readline()  # it is at work
        with open_cache(location) as cache:
            for first in range(100, 250, 25):
                asyncio.run(put_all(cache, [make_answer(number) for number in range(first, first + 25)]))
        other.communicate()
    assert other.returncode == 0
    assert len(prefix.list_objects()) <= 2
    assert_holds(location, range(250))


def test_reader_that_lists_during_a_merge_loses_nothing(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = open_cache(location)
    for number in range(5):
        asyncio.run(writer.put(make_answer(number)))
    download = ObjectStore.download

    def merge_first(self: ObjectStore, objects: list[StoredObject], folder: Path) -> list[StoredObject]:
        monkeypatch.setattr(ObjectStore, "download", download)
        assert len(objects) == 5
        writer.close()
        vanished = self.download(objects, folder)
        assert len(vanished) == 5
        return vanished

    monkeypatch.setattr(ObjectStore, "download", merge_first)
    assert_holds(location, range(5))


def test_leftovers_of_a_killed_writer_are_merged(location: str, prefix: ObjectStore, tmp_path: Path) -> None:
    kill_after(start_writer(location, 0, 1000, 1, tmp_path), 20)
    leftovers = prefix.list_objects()
    assert len(leftovers) >= 20
    with open_cache(location):
        pass
    assert prefix.list_objects() == leftovers  # too young
    for _ in range(2):
        with CloudCache(location, leftover_age_s=0.0) as cache:
            assert len(cache) == len(leftovers)
        (merged,) = prefix.list_objects()
        assert merged.name == name_merged(leftovers) > max(stored.name for stored in leftovers)
    assert_holds(location, range(20))


def test_mergers_of_the_same_leftovers_agree(location: str, prefix: ObjectStore) -> None:
    for number in range(16):
        prefix.upload_new(f"{number:013d}-host-1-ab-00000001.jsonl", encode_line(make_answer(number)))
    mergers = [CloudCache(location, leftover_age_s=0.0) for _ in range(2)]
    for merger in mergers:
        merger.close()
    (merged,) = prefix.list_objects()
    assert merged.name.startswith("0000000000016-")
    assert_holds(location, range(16))


def test_objects_that_are_not_understood_are_left_alone(location: str, prefix: ObjectStore) -> None:
    for number in range(16):
        prefix.upload_new(f"{number:013d}-host-1-ab-00000001.jsonl", encode_line(make_answer(number)))
    prefix.upload_new("0000000000099-host-1-ab-00000001.jsonl", b'{"layout":"of a later release"}\n')
    prefix.upload_new("notes.txt", b"not a segment")
    before = prefix.list_objects()
    with CloudCache(location, leftover_age_s=0.0) as cache:
        assert (len(cache), cache.skipped_lines) == (16, 1)
    assert prefix.list_objects() == before


def test_missing_bucket_is_named(cloud: str) -> None:
    with pytest.raises(CacheError, match=f"{cloud}-not/p: no such bucket; create it"):
        open_cache(f"{cloud}-not/p")


def test_failed_upload_reaches_every_waiting_put(location: str) -> None:
    async def put_each(cache: AnswerCache) -> list[BaseException | None]:
        return await asyncio.gather(*(cache.put(make_answer(n)) for n in range(5)), return_exceptions=True)

    with open_cache(location) as cache:
        delete_bucket_of(location)
        failures = asyncio.run(put_each(cache))
        assert [type(failure) for failure in failures] == [CacheError] * 5
        assert "no such bucket" in str(failures[0])
