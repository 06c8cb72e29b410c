"""Publishing and fetching in cloud storage: several publishers at once, killed ones, readers in between."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from emulators import put_at
from fault_proxy import Fault, Proxy, Request, first

from ur4rec.storage import cloud_folders
from ur4rec.storage.artifacts import ArtifactError
from ur4rec.storage.cloud_folders import PublishConflictError
from ur4rec.storage.folders import fetch_folder, publish_folder
from ur4rec.storage.stores import open_store, parse_location

pytestmark = pytest.mark.emulator

NUM_PUBLISHERS = 8
Files = dict[str, bytes]


@pytest.fixture
def location(cloud: str) -> str:
    return f"{cloud}/models/ours"


def make_folder(folder: Path, word: str) -> Path:
    (folder / "logs" / "deep").mkdir(parents=True, exist_ok=True)
    (folder / "weights.pt").write_bytes(word.encode() * 1000)
    (folder / "logs" / "deep" / "events").write_bytes(word.encode())
    (folder / "logs" / "empty").write_bytes(b"")
    return folder


def expect(word: str) -> Files:
    text = word.encode()
    return {"weights.pt": text * 1000, "logs/deep/events": text, "logs/empty": b""}


def read_folder(folder: Path) -> Files:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fetch(location: str, tmp_path: Path) -> Files:
    target = tmp_path / f"fetched-{len(list(tmp_path.iterdir()))}"
    return read_folder(fetch_folder(location, target))


def list_names(location: str) -> list[str]:
    with open_store(location) as store:
        return [stored.name for stored in store.list_objects(deep=True)]


def delete_at(address: str) -> None:
    with open_store(parse_location(address).parent) as store:
        store.delete([stored for stored in store.list_objects() if address.endswith(f"/{stored.name}")])


def list_versions_of(location: str) -> set[str]:
    return {name.split("/")[1] for name in list_names(location) if name.startswith("content/")}


def test_a_folder_comes_back_as_it_was(location: str, tmp_path: Path) -> None:
    published = publish_folder(make_folder(tmp_path / "a", "one"), location)
    assert (published.num_files, published.size_bytes, published.changed) == (3, 3003, True)
    assert fetch(location, tmp_path) == expect("one")
    again = publish_folder(tmp_path / "a", location)
    assert (again.changed, again.removed) == (False, [])


def test_the_former_version_stays_for_those_who_read_it(location: str, tmp_path: Path) -> None:
    for word in ("one", "two"):
        assert publish_folder(make_folder(tmp_path / "a", word), location).removed == []
    assert len(list_versions_of(location)) == 2
    third = publish_folder(make_folder(tmp_path / "a", "three"), location)
    assert [name.startswith(f"{location}/content/0-") for name in third.removed] == [True]
    assert len(list_versions_of(location)) == 2
    assert fetch(location, tmp_path) == expect("three")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda address: put_at(address, b"One" * 1000), "sha256 differs from the manifest"),
        (lambda address: put_at(address, b""), "sha256 differs from the manifest"),
        (delete_at, "named in the manifest but missing"),
    ],
    ids=["one bit flipped", "emptied", "deleted"],
)
def test_an_object_that_was_harmed_is_named(
    location: str, tmp_path: Path, harm: Callable[[str], None], message: str
) -> None:
    publish_folder(make_folder(tmp_path / "a", "one"), location)
    (name,) = (name for name in list_names(location) if name.endswith("weights.pt"))
    harm(f"{location}/{name}")
    with pytest.raises(ArtifactError, match=f"{location}/content/.*/weights.pt: {message}; publish the folder again"):
        fetch_folder(location, tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]  # nothing half done is left


def test_a_manifest_of_something_else_is_not_replaced(location: str, tmp_path: Path) -> None:
    put_at(f"{location}/manifest.json", b"{}")
    with pytest.raises(ArtifactError, match=f"{location}/manifest.json: was not made by publishing; choose another"):
        publish_folder(make_folder(tmp_path / "a", "one"), location)
    assert list_names(location) == ["manifest.json"]


def test_a_file_that_changes_meanwhile_is_not_published(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, upload = make_folder(tmp_path / "a", "one"), cloud_folders._upload

    def change_first(*arguments: object) -> None:
        make_folder(tmp_path / "a", "two")
        upload(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cloud_folders, "_upload", change_first)
    with pytest.raises(ArtifactError, match="changed while it was published; publish again when it is finished"):
        publish_folder(folder, location)
    assert "manifest.json" not in list_names(location)


def before_manifest(proxy: Proxy, action: Callable[[], object]) -> None:
    """Does something when the first manifest is on its way."""

    def plan(request: Request) -> Fault:
        if request.is_manifest:
            proxy.plan = lambda _: Fault.NONE
            action()
        return Fault.NONE

    proxy.plan = plan


def test_a_lost_race_leaves_the_winner(proxy: Proxy, location: str, tmp_path: Path) -> None:
    rival = make_folder(tmp_path / "rival", "two")
    before_manifest(proxy, lambda: publish_folder(rival, location))
    with pytest.raises(PublishConflictError, match=f"{location}: another publisher was faster, and its version stands"):
        publish_folder(make_folder(tmp_path / "a", "one"), location)
    assert fetch(location, tmp_path) == expect("two")
    assert len(list_versions_of(location)) == 1  # the loser's files are gone
    assert publish_folder(tmp_path / "a", location).changed
    assert fetch(location, tmp_path) == expect("one")


def test_a_race_of_equal_folders_has_no_loser(proxy: Proxy, location: str, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a", "one")
    before_manifest(proxy, lambda: publish_folder(folder, location))
    publish_folder(folder, location)
    assert fetch(location, tmp_path) == expect("one")
    assert len(list_names(location)) == 4


def test_a_lost_answer_to_the_manifest_is_no_conflict(proxy: Proxy, location: str, tmp_path: Path) -> None:
    proxy.plan = first(1, Fault.LOSE_ANSWER, lambda request: request.is_manifest)
    assert publish_folder(make_folder(tmp_path / "a", "one"), location).changed
    assert proxy.count(Fault.LOSE_ANSWER) == 1
    assert fetch(location, tmp_path) == expect("one")


def test_a_reader_overtaken_by_two_publications_gets_the_last(proxy: Proxy, location: str, tmp_path: Path) -> None:
    publish_folder(make_folder(tmp_path / "a", "one"), location)

    def plan(request: Request) -> Fault:
        if request.is_download and "/content/" in request.path:
            proxy.plan = lambda _: Fault.NONE
            for word in ("two", "three"):  # the second removes what the reader has just begun to read
                publish_folder(make_folder(tmp_path / "a", word), location)
        return Fault.NONE

    proxy.plan = plan
    assert fetch(location, tmp_path) == expect("three")


def test_a_killed_publisher_changes_nothing_and_can_start_again(proxy: Proxy, location: str, tmp_path: Path) -> None:
    publish_folder(make_folder(tmp_path / "a", "one"), location)
    two = make_folder(tmp_path / "two", "two")

    def publish_and_be_killed() -> None:
        code = "import sys; from ur4rec.storage.folders import publish_folder; publish_folder(*sys.argv[1:])"
        code = code.replace("publish_folder(*sys.argv[1:])", "publish_folder(Path(sys.argv[1]), sys.argv[2])")
        with subprocess.Popen([sys.executable, "-c", f"from pathlib import Path; {code}", two, location]) as process:
            before_manifest(proxy, lambda: os.kill(process.pid, signal.SIGKILL))
            proxy.plan = _failing_manifest(proxy.plan)
            assert process.wait() == -signal.SIGKILL

    publish_and_be_killed()
    assert len(list_versions_of(location)) == 2
    assert fetch(location, tmp_path) == expect("one")

    uploads: list[str] = []

    def note_uploads(request: Request) -> Fault:
        if request.is_upload:
            uploads.append(request.path)
        return Fault.NONE

    proxy.plan = note_uploads
    assert publish_folder(two, location).removed == []
    assert len(uploads) == 1  # the manifest: the files were there
    assert fetch(location, tmp_path) == expect("two")

    make_folder(tmp_path / "two", "never")
    publish_and_be_killed()
    done = publish_folder(make_folder(tmp_path / "a", "four"), location)
    assert len(done.removed) == 2  # the version "one", and what the killed publisher of "never" left
    assert fetch(location, tmp_path) == expect("four")


def _failing_manifest(plan: Callable[[Request], Fault]) -> Callable[[Request], Fault]:
    return lambda request: Fault.FAIL if plan(request) is Fault.NONE and request.is_manifest else Fault.NONE


def publish_when_all_are_ready(
    number: int, folder: Path, location: str, barrier: Barrier, results: "Queue[str]"
) -> None:
    """A process: uploads, waits until every other has uploaded, and goes on."""
    upload = cloud_folders._upload

    def upload_and_wait(*arguments: object) -> None:
        upload(*arguments)  # type: ignore[arg-type]
        barrier.wait(timeout=120)

    cloud_folders._upload = upload_and_wait  # type: ignore[assignment]
    try:
        results.put(f"{number} {publish_folder(folder, location).changed}")
    except PublishConflictError:
        results.put(f"{number} conflict")


@pytest.mark.slow
def test_of_eight_publishers_at_once_one_wins(location: str, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(NUM_PUBLISHERS), context.Queue()
    processes = [
        context.Process(
            target=publish_when_all_are_ready,
            args=(number, make_folder(tmp_path / str(number), f"word {number}"), location, barrier, results),
        )
        for number in range(NUM_PUBLISHERS)
    ]
    for process in processes:
        process.start()
    outcomes = dict(results.get(timeout=200).split() for _ in processes)
    for process in processes:
        process.join()
    results.close()
    (winner,) = (number for number, outcome in outcomes.items() if outcome == "True")
    assert sorted(outcomes.values()) == ["True"] + ["conflict"] * (NUM_PUBLISHERS - 1)
    assert fetch(location, tmp_path) == expect(f"word {winner}")
    assert len(list_versions_of(location)) == 1
    assert len(list_names(location)) == 4  # its three files and the manifest
