"""Transfers through a proxy that harms them: each ends with the right bytes, or with one line and nothing left."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_proxy import Fault, Proxy, Request, first

from ur4rec.storage.folders import digest_folder, fetch_folder, publish_folder
from ur4rec.storage.gcs_transfers import ATTEMPTS
from ur4rec.storage.objects import CHUNK_BYTES, ObjectStore, StoreError
from ur4rec.storage.stores import open_store

pytestmark = [
    pytest.mark.emulator,
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),  # the library drops the answer 503 to a download
]

HARM = [fault for fault in Fault if fault is not Fault.NONE]


@pytest.fixture
def prefix(cloud: str, proxy: Proxy) -> Iterator[ObjectStore]:
    with open_store(f"{cloud}/p") as prefix:
        yield prefix


@pytest.mark.parametrize("size", [50_000, CHUNK_BYTES + 1000], ids=["in one piece", "in chunks"])
@pytest.mark.parametrize("fault", HARM)
def test_content_arrives_whatever_happens(
    prefix: ObjectStore, proxy: Proxy, fault: Fault, size: int, tmp_path: Path
) -> None:
    content = random.Random(1).randbytes(size)
    (tmp_path / "sent").write_bytes(content)
    proxy.plan = first(1, fault, lambda request: request.is_upload)
    stored = prefix.upload_new("received", tmp_path / "sent")
    assert (stored.size_bytes, prefix.list_objects()) == (size, [stored])
    proxy.plan = first(1, fault, lambda request: request.is_download)
    assert prefix.download([stored], tmp_path) == []
    assert (tmp_path / "received").read_bytes() == content
    assert proxy.count(fault) == 2


@pytest.mark.parametrize("size", [50_000, CHUNK_BYTES + 1000], ids=["in one piece", "in chunks"])
def test_a_line_that_always_damages_is_given_up(prefix: ObjectStore, proxy: Proxy, size: int, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(bytes(size))
    stored = prefix.upload_new("whole", tmp_path / "sent")
    proxy.plan = lambda request: Fault.FLIP_REQUEST if request.is_upload else Fault.NONE
    with pytest.raises(
        StoreError, match=f"p/received: refused or damaged on its way, {ATTEMPTS} times: (crc32c|BadDigest|X)"
    ):
        prefix.upload_new("received", tmp_path / "sent")
    assert proxy.count(Fault.FLIP_REQUEST) == ATTEMPTS
    assert prefix.list_objects() == [stored]
    proxy.plan = lambda request: Fault.FLIP_ANSWER if request.is_download else Fault.NONE
    with pytest.raises(StoreError, match="p/whole: its bytes do not have the crc32c of the object"):
        prefix.download([stored], tmp_path)


def test_a_third_of_the_requests_answered_with_503(cloud: str, proxy: Proxy, tmp_path: Path) -> None:
    source, location = tmp_path / "source", f"{cloud}/folder"
    (source / "deep" / "er").mkdir(parents=True)
    generator, lock = random.Random(5), threading.Lock()
    for number in range(12):
        (source / "deep" / f"{number}.bin").write_bytes(generator.randbytes(1000))
    (source / "deep" / "er" / "large.bin").write_bytes(generator.randbytes(2 * CHUNK_BYTES))

    def storm(_: Request) -> Fault:
        with lock:
            return Fault.FAIL if generator.random() < 0.3 else Fault.NONE

    proxy.plan = storm
    assert publish_folder(source, location).changed
    fetched = fetch_folder(location, tmp_path / "fetched")
    assert digest_folder(fetched) == digest_folder(source)
    assert not publish_folder(source, location).changed
    assert proxy.count(Fault.FAIL) >= 5
