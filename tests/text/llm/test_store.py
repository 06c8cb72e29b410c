"""The cache in a local folder: what is stored stays, whatever happens to the process, the file or a neighbour."""

import asyncio
import json
import random
import resource
import shutil
import sqlite3
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from cache_writer import kill_after, make_answer, put_all, start_writer

from ur4rec.text.llm import store
from ur4rec.text.llm.lookup import open_cache
from ur4rec.text.llm.store import (
    FILE,
    AnswerCache,
    CachedAnswer,
    CacheError,
    decode_line,
    encode_line,
    find_file_system,
)

Reopen = Callable[[], AnswerCache]
ODD_TEXTS = (
    "",
    "\n",
    "one\r\ntwo\x85three\u2028four\u2029five",
    'nul \x00, bell \x07, tab \t, quote ", backslash \\ and \\n',
    "Amélie, 千と千尋の神隠し, 🎬🏳️‍🌈, e\u0301, \ufeff, \u202e right to left",
    "half a pair: \ud83c",
    encode_line(make_answer(0)).decode(),
    "long " * 100_000,
)


def write_segment(folder: Path, name: str, *answers: CachedAnswer) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.jsonl"
    path.write_bytes(b"".join(map(encode_line, answers)))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def reopen(folder: Path) -> Iterator[Reopen]:
    """Opens the cache in `folder` anew at each call."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(open_cache(str(folder)))


def test_keeps_every_text_as_it_was(folder: Path) -> None:
    answers = [make_answer(number, text=text) for number, text in enumerate(ODD_TEXTS)]
    answers.append(make_answer(99, status="refused", expires_at_s=2**40))
    with open_cache(str(folder)) as cache:
        asyncio.run(put_all(cache, answers))
        assert [cache.get(answer.key) for answer in answers] == answers
    with open_cache(str(folder)) as again:
        assert [again.get(answer.key) for answer in answers] == answers
        assert (len(again), again.skipped_lines) == (len(answers), 0)
        assert answers[0].key in again
        assert make_answer(1234).key not in again


def test_reading_makes_no_file(folder: Path) -> None:
    with open_cache(str(folder)) as cache:
        assert cache.get(make_answer(0).key) is None
    assert list(folder.iterdir()) == []


def test_runs_share_one_file(folder: Path) -> None:
    for run in range(3):
        with open_cache(str(folder)) as cache:
            assert len(cache) == 10 * run
            asyncio.run(put_all(cache, [make_answer(number) for number in range(10 * run, 10 * run + 10)]))
            asyncio.run(cache.put(make_answer(0)))  # a second event loop, and an answer that is there
    assert [path.name for path in folder.iterdir()] == [FILE]
    with closing(sqlite3.connect(folder / FILE)) as connection, connection:
        lines = [line for (line,) in connection.execute("SELECT line FROM answers")]
    connection.close()
    assert sorted(lines) == sorted(encode_line(make_answer(number)) for number in range(30))


def test_what_a_neighbour_stores_is_seen_at_once(folder: Path, reopen: Reopen) -> None:
    first, second = reopen(), reopen()
    for number, (writer, reader) in enumerate([(first, second), (second, first), (first, second)]):
        asyncio.run(writer.put(make_answer(number)))
        assert reader.get(make_answer(number).key) == make_answer(number)


def test_killed_writer_keeps_what_it_reported(folder: Path, tmp_path: Path, reopen: Reopen) -> None:
    dice = random.Random(0)
    reported: set[str] = set()
    for kill in range(3):
        writer = start_writer(str(folder), 5_000 * kill, 5_000 * kill + 5_000, 64, tmp_path)
        reported |= kill_after(writer, dice.randrange(1, 1500))
    cache = reopen()
    stored = {answer.key: answer for answer in map(make_answer, range(15_000))}
    assert len(reported) > 3
    assert [key for key in reported if cache.get(key) != stored[key]] == []
    assert cache.skipped_lines <= 3


def test_two_processes_at_once(folder: Path, tmp_path: Path, reopen: Reopen) -> None:
    ranges = [(0, 700), (500, 1200)]
    writers = [start_writer(str(folder), first, last, 16, tmp_path) for first, last in ranges]
    for writer, (first, last) in zip(writers, ranges, strict=True):
        assert len(writer.communicate()[0].splitlines()) == last - first
    cache = reopen()
    assert (len(cache), cache.skipped_lines) == (1200, 0)
    assert all(cache.get(make_answer(number).key) == make_answer(number) for number in range(1200))


def test_line_cut_anywhere_is_no_answer() -> None:
    answer = make_answer(7)
    line = encode_line(answer)
    assert decode_line(line) == decode_line(line[:-1]) == answer
    assert {decode_line(line[:length]) for length in range(len(line) - 1)} == {None}


def test_changed_byte_is_no_other_answer() -> None:
    line = encode_line(make_answer(7))
    changed = [line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :] for place in range(len(line))]
    assert {decode_line(damaged) for damaged in changed} == {None}


def test_damage_costs_only_the_damaged_lines(folder: Path, reopen: Reopen) -> None:
    answers = [make_answer(number) for number in range(6)]
    damaged = write_segment(folder, "1", *answers[:4])
    lines = damaged.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"text 1", b"text 9", 1)
    lines[2] = b"\xff\xfe not a line\n"
    lines[3] = lines[3][: len(lines[3]) // 2]
    damaged.write_bytes(b"".join(lines))
    write_segment(folder, "2", *answers[4:])
    cache = reopen()
    assert [answer.key in cache for answer in answers] == [True, False, False, False, True, True]
    assert cache.skipped_lines == 3


def test_line_of_another_layout_is_left_out(folder: Path, reopen: Reopen) -> None:
    path = write_segment(folder, "1", make_answer(0))
    body = b'{"key":"00","colour":"blue"}'
    path.write_bytes(path.read_bytes() + b'{"crc32":"%08x","answer":%b}\n' % (zlib.crc32(body), body))
    cache = reopen()
    assert (len(cache), cache.skipped_lines) == (1, 1)


FAILED = make_answer(1, status="failed", text="timeout", stored_at_s=10)
REFUSED = make_answer(1, status="refused", text="filter", stored_at_s=20)
ANSWERED = make_answer(1, text="first", stored_at_s=30)
ANSWERED_LATER = make_answer(1, text="second", stored_at_s=40)


@pytest.mark.parametrize(
    ("entries", "winner"),
    [
        ((FAILED, ANSWERED), ANSWERED),
        ((FAILED, REFUSED), FAILED),
        ((ANSWERED, ANSWERED_LATER), ANSWERED),
        ((FAILED, REFUSED, ANSWERED, ANSWERED_LATER), ANSWERED),
        ((replace(FAILED, expires_at_s=1), REFUSED), REFUSED),
    ],
)
def test_precedence_does_not_depend_on_the_order(
    folder: Path, entries: tuple[CachedAnswer, ...], winner: CachedAnswer
) -> None:
    for number, order in enumerate(permutations(entries)):
        place = folder / str(number)
        place.mkdir(parents=True)
        for name, answer in enumerate(order):
            write_segment(place, str(name), answer)
        with open_cache(str(place)) as cache:
            assert cache.get(winner.key) == winner


def test_answer_replaces_a_failure_at_once(folder: Path, reopen: Reopen) -> None:
    with open_cache(str(folder)) as cache:
        for answer, expected in ((FAILED, FAILED), (ANSWERED, ANSWERED), (REFUSED, ANSWERED)):
            asyncio.run(cache.put(answer))
            assert cache.get(answer.key) == expected
    assert reopen().get(FAILED.key) == ANSWERED


def test_expired_entry_counts_as_absent(folder: Path, reopen: Reopen) -> None:
    expired = replace(FAILED, expires_at_s=int(time.time()) - 1)
    renewed = replace(REFUSED, expires_at_s=int(time.time()) + 1000)
    with open_cache(str(folder)) as cache:
        asyncio.run(cache.put(expired))
        assert expired.key not in cache
    with open_cache(str(folder)) as cache:
        assert len(cache) == 0
        asyncio.run(cache.put(expired))
        asyncio.run(cache.put(renewed))
        assert cache.get(expired.key) == renewed
    assert reopen().get(expired.key) == renewed


def test_expires_on_the_second(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expiring = replace(FAILED, expires_at_s=100)
    write_segment(folder, "1", expiring)
    monkeypatch.setattr("ur4rec.text.llm.store.time.time", lambda: 99.9)
    with open_cache(str(folder)) as cache:
        assert (cache.get(FAILED.key), len(cache)) == (expiring, 1)
        monkeypatch.setattr("ur4rec.text.llm.store.time.time", lambda: 100.0)
        assert (cache.get(FAILED.key), len(cache)) == (None, 0)


def test_failed_write_reaches_every_waiting_put(folder: Path, reopen: Reopen) -> None:
    answers = [make_answer(number) for number in range(5)]

    async def put_each(cache: AnswerCache) -> list[BaseException | None]:
        return await asyncio.gather(*map(cache.put, answers), return_exceptions=True)

    with open_cache(str(folder)) as cache:
        shutil.rmtree(folder)
        failures = asyncio.run(put_each(cache))
        assert [type(failure) for failure in failures] == [CacheError] * 5
        assert f"{folder}: cannot be written to (No such file or directory)" in str(failures[0])
        assert answers[0].key not in cache
        folder.mkdir()
        assert asyncio.run(put_each(cache)) == [None] * 5
    assert len(reopen()) == 5


def test_full_disk_loses_only_what_did_not_fit(folder: Path, reopen: Reopen) -> None:
    small, large, later = make_answer(0), make_answer(1, text="x" * 200_000), make_answer(2)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_cache(str(folder)) as cache:
        asyncio.run(cache.put(small))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            with pytest.raises(CacheError, match="answers stored so far are safe"):
                asyncio.run(cache.put(large))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        asyncio.run(cache.put(later))
        assert [answer.key in cache for answer in (small, large, later)] == [True, False, True]
    again = reopen()
    assert [answer.key in again for answer in (small, large, later)] == [True, False, True]
    assert again.skipped_lines == 0


def test_cancelled_put_takes_no_other_with_it(folder: Path, reopen: Reopen) -> None:
    async def cancel_one(cache: AnswerCache) -> None:
        tasks = [asyncio.create_task(cache.put(make_answer(number))) for number in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.gather(*tasks[1:])

    with open_cache(str(folder)) as cache:
        asyncio.run(cancel_one(cache))
    assert len(reopen()) >= 2


def test_closed_cache_is_of_no_use(folder: Path, reopen: Reopen) -> None:
    cache = reopen()
    asyncio.run(cache.put(make_answer(0)))
    cache.close()
    uses: list[Callable[[], object]] = [
        lambda: cache.get(make_answer(0).key),
        lambda: asyncio.run(cache.put(make_answer(1))),
    ]
    for use in uses:
        with pytest.raises(CacheError, match=f"{folder}: the cache is closed; open it again"):
            use()


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("{folder}/file/cache", "cannot be made .*; choose a folder"),
        ("s4://bucket/prefix", "expected a folder or gs://bucket/prefix"),
        ("gs://Not A Bucket", "expected gs://bucket/prefix"),
        ("{folder}", "cannot be read .*Is a directory"),
    ],
)
def test_useless_locations_are_refused(folder: Path, location: str, message: str) -> None:
    folder.mkdir()
    (folder / "file").touch()
    (folder / "directory.jsonl").mkdir()
    location = location.format(folder=folder)
    with pytest.raises(CacheError, match=message) as caught:
        open_cache(location)
    assert location in str(caught.value)


def test_an_opened_cache_needs_little_memory(folder: Path, reopen: Reopen) -> None:
    answers = [make_answer(number) for number in range(20_000)]
    write_segment(folder, "1", *answers)
    tracemalloc.start()
    try:
        cache = reopen()
        assert all(answer.key in cache for answer in answers)
        used_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(cache) == 20_000
    assert used_bytes / 20_000 < 130


@pytest.mark.parametrize(
    "change",
    [{"status": "odd"}, {"tokens_in": "1"}, {"stored_at_s": None}, {"expires_at_s": 1.5}, {"text": 7}, {"more": 1}],
    ids=str,
)
def test_a_line_whose_checksum_fits_but_whose_fields_do_not_is_no_answer(change: dict[str, Any]) -> None:
    whole = asdict(CachedAnswer("a" * 64, "accepted", "text", 1, 2, 3, None))
    for fields, is_answer in ((whole, True), (whole | change, False)):
        body = json.dumps(fields).encode()
        line = b'{"crc32":"%08x","answer":%b}\n' % (zlib.crc32(body), body)
        assert (decode_line(line) is not None) == is_answer


def test_files_of_lines_are_taken_over_once(folder: Path, reopen: Reopen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LINES_AT_ONCE", 7)
    path = write_segment(folder, "1", *map(make_answer, range(20)))
    whole = path.read_bytes()
    torn = encode_line(make_answer(20))
    path.write_bytes(whole + torn[:50])  # its writer is at work
    cache = reopen()
    assert (len(cache), cache.skipped_lines) == (20, 1)
    path.write_bytes(whole + torn + encode_line(make_answer(21)))
    cache = reopen()
    assert (len(cache), cache.skipped_lines) == (22, 0)
    monkeypatch.setattr(store, "decode_line", None)  # nothing is read again
    assert reopen().skipped_lines == 0
    path.unlink()
    monkeypatch.undo()
    assert all(reopen().get(make_answer(number).key) == make_answer(number) for number in range(22))


def test_processes_that_take_over_the_same_files_agree(folder: Path, tmp_path: Path, reopen: Reopen) -> None:
    for name in range(3):
        write_segment(folder, str(name), *map(make_answer, range(1000 * name, 1000 * name + 1200)))
    writers = [start_writer(str(folder), first, first + 50, 16, tmp_path) for first in (5_000, 6_000, 7_000)]
    assert [len(writer.communicate()[0].splitlines()) for writer in writers] == [50] * 3
    assert [writer.returncode for writer in writers] == [0] * 3
    assert len(reopen()) == 3_200 + 150


def test_many_processes_that_make_the_file_at_once(folder: Path, tmp_path: Path, reopen: Reopen) -> None:
    writers = [start_writer(str(folder), first, first + 30, 8, tmp_path) for first in range(0, 180, 30)]
    assert [len(writer.communicate()[0].splitlines()) for writer in writers] == [30] * 6
    assert len(reopen()) == 180


@pytest.mark.parametrize("network", [False, True])
def test_journal_fits_the_file_system(folder: Path, monkeypatch: pytest.MonkeyPatch, network: bool) -> None:
    monkeypatch.setattr(store, "find_file_system", lambda _: "nfs4" if network else "ext4")
    with open_cache(str(folder)) as cache, open_cache(str(folder)) as other:
        for number in range(100):
            asyncio.run((other if number % 3 else cache).put(make_answer(number)))
            assert cache.get(make_answer(number).key) == other.get(make_answer(number).key) == make_answer(number)
        assert {path.name for path in folder.iterdir()} - {FILE} == (
            set() if network else {f"{FILE}-shm", f"{FILE}-wal"}
        )
    with open_cache(str(folder)) as cache:
        assert len(cache) == 100
    assert [path.name for path in folder.iterdir()] == [FILE]


@pytest.mark.parametrize("network", [False, True])
def test_a_killed_writer_leaves_a_file_for_either_journal(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: bool
) -> None:
    """The folder may be mounted elsewhere after the kill."""
    reported = kill_after(start_writer(str(folder), 0, 5_000, 16, tmp_path), 100)
    monkeypatch.setattr(store, "find_file_system", lambda _: "nfs4" if network else "ext4")
    with open_cache(str(folder)) as cache:
        stored = {answer.key: answer for answer in map(make_answer, range(5_000))}
        assert [key for key in reported if cache.get(key) != stored[key]] == []
        asyncio.run(cache.put(make_answer(6_000)))
        assert make_answer(6_000).key in cache


def test_file_system_is_that_of_the_nearest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    rows = [
        "/dev/vda / ext4 rw 0 0",
        f"server:/a {tmp_path}/with\\040space nfs4 rw 0 0",
        f"b {tmp_path}/été cifs rw 0 0",
    ]
    mounts.write_text("\n".join(rows))
    (tmp_path / "link").symlink_to(tmp_path / "été")
    places = ("", "with space", "with space/not/yet", "été/a", "link", "with spaces")
    expected = ["ext4", "nfs4", "nfs4", "cifs", "cifs", "ext4"]
    assert [find_file_system(tmp_path / place, mounts) for place in places] == expected
    assert find_file_system(tmp_path, tmp_path / "nothing") == ""
    assert find_file_system(tmp_path) != ""


def test_a_changed_byte_in_the_file_is_no_answer_and_is_asked_for_again(folder: Path, reopen: Reopen) -> None:
    with open_cache(str(folder)) as cache:
        asyncio.run(put_all(cache, [make_answer(0), make_answer(1)]))
    path = folder / FILE
    path.write_bytes(path.read_bytes().replace(b"text 1 ", b"text 9 ", 1))
    cache = reopen()
    assert [cache.get(make_answer(number).key) for number in (0, 1)] == [make_answer(0), None]
    asyncio.run(cache.put(make_answer(1)))
    assert reopen().get(make_answer(1).key) == make_answer(1)


@pytest.mark.parametrize("damage", ["beginning", "pages", "cut"])
def test_a_damaged_file_is_named_with_what_to_do(folder: Path, damage: str) -> None:
    with open_cache(str(folder)) as cache:
        asyncio.run(put_all(cache, list(map(make_answer, range(300)))))
    path = folder / FILE
    whole = path.read_bytes()
    damaged = {"beginning": b"no database" + whole[11:], "pages": whole[:4096] + b"\xff" * 60_000, "cut": whole[:8192]}
    path.write_bytes(damaged[damage])

    def read_all() -> None:
        with open_cache(str(folder)) as cache:
            for number in range(300):
                cache.get(make_answer(number).key)

    with pytest.raises(CacheError) as caught:
        read_all()
    assert str(caught.value).startswith(f"{path}: is damaged (")
    assert "move it away" in str(caught.value)


def test_a_file_of_a_later_version_is_left_alone(folder: Path) -> None:
    folder.mkdir()
    with closing(sqlite3.connect(folder / FILE)) as connection:
        connection.execute("PRAGMA user_version = 2")
    before = (folder / FILE).read_bytes()
    with pytest.raises(CacheError, match=f"{folder / FILE}: was written by a later version; update ur4rec"):
        open_cache(str(folder))
    assert (folder / FILE).read_bytes() == before


def test_a_lock_that_stays_is_told(folder: Path, reopen: Reopen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PATIENCE_S", 0.1)
    cache = reopen()
    asyncio.run(cache.put(make_answer(0)))
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        expected = f"{folder / FILE}: another process has kept it locked for 0.1 s; end that process and run again"
        with pytest.raises(CacheError, match=expected):
            asyncio.run(cache.put(make_answer(1)))
        assert cache.get(make_answer(0).key) == make_answer(0)
    asyncio.run(cache.put(make_answer(1)))
    assert make_answer(1).key in cache


def test_a_file_that_is_removed_while_in_use_takes_no_answer(folder: Path, reopen: Reopen) -> None:
    cache = reopen()
    asyncio.run(cache.put(make_answer(0)))
    assert make_answer(0).key in cache
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(CacheError, match=r"cannot be written to .*No such file or directory"):
        asyncio.run(cache.put(make_answer(1)))
    asyncio.run(cache.put(make_answer(2)))
    assert cache.get(make_answer(2).key) == reopen().get(make_answer(2).key) == make_answer(2)


def test_a_folder_that_may_not_be_written_to_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    monkeypatch.setattr("ur4rec.text.llm.lookup.os.access", lambda *_: False)  # tests may run as root
    with pytest.raises(CacheError, match=f"{folder}: cannot be written to; expected a folder that this user may read"):
        open_cache(str(folder))
