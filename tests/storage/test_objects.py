"""What every store does: those of the emulators and one in memory."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from memory_store import Bucket, MemoryStore
from present import present

from ur4rec.storage.objects import NO_OBJECT, ObjectExistsError, ObjectReplacedError, ObjectStore, StoreError
from ur4rec.storage.stores import open_store, parse_location

BUCKETS = {"gs": "bucket", "s3": "s3_bucket", "minio": "s3_bucket"}
"""Scheme of an address → fixture with a bucket."""
OpenStore = Callable[[str], ObjectStore]


def test_a_location_has_a_name_and_others_around_it() -> None:
    place = parse_location("gs://bucket/a/b")
    assert (place.name, str(place.parent), str(place / "c" / "d")) == ("b", "gs://bucket/a", "gs://bucket/a/b/c/d")
    top = place.parent.parent
    assert (top.name, str(top.parent), str(top / "c")) == ("", "gs://bucket", "gs://bucket/c")


@pytest.fixture(params=["memory", *(pytest.param(kind, marks=pytest.mark.emulator) for kind in BUCKETS)])
def address(request: pytest.FixtureRequest) -> str:
    """A new bucket in each kind of store."""
    if request.param == "memory":
        return "gs://memory"
    return f"{request.param}://{request.getfixturevalue(BUCKETS[request.param])}"


@pytest.fixture
def open_at(address: str) -> Iterator[OpenStore]:
    """Opens the store of an address below the bucket."""
    buckets: dict[str, Bucket] = {"memory": {}}
    stores: list[ObjectStore] = []

    def open_at(place: str) -> ObjectStore:
        where = parse_location(f"{address}{place}")
        stores.append(MemoryStore(where, buckets) if address == "gs://memory" else open_store(where))
        return stores[-1]

    yield open_at
    for store in stores:
        store.close()


@pytest.fixture
def store(open_at: OpenStore) -> ObjectStore:
    return open_at("/some/place")


def assert_later(store: ObjectStore, later: str, earlier: str) -> None:
    assert later != earlier
    if store.location.scheme == "gs":  # the others do not count
        assert present(store.number(later)) > present(store.number(earlier))
    else:
        assert store.number(later) is None


def test_lists_only_what_is_directly_below(store: ObjectStore, open_at: OpenStore) -> None:
    for place in ("/some", "/some/place/deeper", "/some/placeholder", ""):
        open_at(place).upload_new("other", b"x")
    second, first = store.upload_new("b", b"12345"), store.upload_new("a", b"")
    assert store.list_objects() == [first, second]
    assert (first.name, first.size_bytes, second.size_bytes) == ("a", 0, 5)
    assert_later(store, first.tag, second.tag)
    assert second.created_at_s <= first.created_at_s
    assert [stored.name for stored in store.list_objects(deep=True)] == ["a", "b", "deeper/other"]
    assert (store.list_folders(), open_at("").list_folders()) == (["deeper"], ["some"])


def test_never_replaces_an_object(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "same").write_bytes(b"mine")
    made = store.upload_new("a", b"mine")
    assert store.upload_new("a", b"mine") == made  # as after a lost answer
    assert store.upload_new("a", tmp_path / "same") == made
    with pytest.raises(ObjectExistsError, match="some/place/a: exists with other content"):
        store.upload_new("a", b"yours")
    assert store.list_objects() == [made]


def test_replaces_the_version_that_was_read_and_no_other(store: ObjectStore) -> None:
    assert store.read("a") is None
    first = store.replace("a", b"one", NO_OBJECT)
    assert store.read("a") == (b"one", first.tag)
    second = store.replace("a", b"two", first.tag)
    assert store.read("a") == (b"two", second.tag)
    assert_later(store, second.tag, first.tag)
    for tag in (NO_OBJECT, first.tag):
        with pytest.raises(ObjectReplacedError, match="some/place/a: another writer was faster"):
            store.replace("a", b"three", tag)
    assert store.replace("a", b"two", first.tag) == second  # its content is there already


def test_other_bytes_than_those_of_the_checksum_are_refused(store: ObjectStore) -> None:
    with pytest.raises(StoreError, match="damaged on its way"):
        store.replace("a", b"one", NO_OBJECT, crc32c="AAAAAA==")
    assert store.list_objects() == []


def test_downloads_in_parallel_and_tells_what_has_gone(store: ObjectStore, tmp_path: Path) -> None:
    objects = [store.upload_new(f"{number:02}", str(number).encode() * 1000) for number in range(20)]
    store.delete(objects[3:5])
    done: list[str] = []
    assert store.download(objects, tmp_path, lambda stored: done.append(stored.name)) == objects[3:5]
    contents = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert contents == {f"{number:02}": str(number) * 1000 for number in range(20) if number not in (3, 4)}
    assert sorted(done) == sorted(contents)


def test_a_replaced_version_is_gone_and_not_deleted(store: ObjectStore, tmp_path: Path) -> None:
    first = store.upload_new("deep/a", b"one")
    second = store.replace("deep/a", b"two", first.tag)
    assert store.download([first], tmp_path) == [first]
    if isinstance(store, MemoryStore):  # the emulator deletes whichever version is there
        store.delete([first])
    assert store.list_objects(deep=True) == [second]
    assert store.download([second], tmp_path) == []
    assert (tmp_path / "deep" / "a").read_bytes() == b"two"


def test_a_name_that_leads_out_of_the_folder_is_refused(open_at: OpenStore, tmp_path: Path) -> None:
    evil = "../../evil" if open_at("").location.scheme == "gs" else "ev\nil"  # SeaweedFS refuses the former itself
    open_at("").upload_new(f"data/{evil}", b"2")
    data = open_at("/data")
    with pytest.raises(
        StoreError, match=f"data: holds an object named {re.escape(repr(evil))}: not the path of a file below"
    ):
        data.download(data.list_objects(deep=True), tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_deleting_twice_is_no_error(store: ObjectStore) -> None:
    stored = store.upload_new("a", b"x")
    store.delete([stored])
    store.delete([stored])
    assert store.list_objects() == []


def test_missing_bucket_is_named(open_at: OpenStore, address: str) -> None:
    with closing(open_at("-not/p")) as store:
        for use in (store.list_objects, lambda: store.upload_new("a", b"x"), lambda: store.read("a")):
            with pytest.raises(StoreError, match=f"^{address}-not/p: no such bucket; create it"):
                use()


def test_a_place_that_can_be_written_to_is_left_as_it_was(store: ObjectStore, open_at: OpenStore) -> None:
    store.check_writable()
    assert store.list_objects(deep=True) == []
    with closing(open_at("-not/p")) as other, pytest.raises(StoreError, match="-not/p: no such bucket; create it"):
        other.check_writable()
