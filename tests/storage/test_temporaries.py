"""Files and folders in the making: removed when their process was killed, never while it lives."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ur4rec.storage import temporaries
from ur4rec.storage.temporaries import move_folder, replacing, scratch_folder, temporary_sibling
from ur4rec.storage.writing import WriteError, writing

MAKER = """
import sys, time
from pathlib import Path
from ur4rec.storage.temporaries import replacing, scratch_folder, temporary_sibling
folder = Path(sys.argv[1])
with temporary_sibling(folder / "a") as made, replacing(folder / "b") as file, scratch_folder("toy", folder):
    (made / "part").write_text("half")
    file.write_text("half")
    print("made", flush=True)
    time.sleep(600)
"""


@contextmanager
def making(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that makes a folder, a file and a scratch folder, and does not come to an end."""
    command = [sys.executable, "-c", MAKER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "made\n"
        try:
            yield process
        finally:
            process.kill()


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_living_process_makes_stays_and_what_a_killed_one_made_goes(tmp_path: Path) -> None:
    with making(tmp_path) as process:
        made = list_names(tmp_path)
        assert len(made) == 3
        with temporary_sibling(tmp_path / "other"):
            assert set(list_names(tmp_path)) > set(made)
        assert list_names(tmp_path) == made
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert list_names(tmp_path) == made
        with replacing(tmp_path / "result") as file:
            file.write_text("whole")
        assert list_names(tmp_path) == ["result"]


def test_names_that_are_not_made_here_stay(tmp_path: Path) -> None:
    names = [".a-12345678", "ur4rec-mine", "a-01234567.tmp", ".a.tmp"]
    for name in names:
        (tmp_path / name).mkdir()
    with scratch_folder("toy", tmp_path):
        pass
    assert list_names(tmp_path) == sorted(names)


def test_a_link_of_such_a_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("mine")
    (tmp_path / "place").mkdir()
    (tmp_path / "place/.a-01234567.tmp").symlink_to(tmp_path / "mine")
    with replacing(tmp_path / "place/result") as file:
        file.write_text("whole")
    assert (tmp_path / "mine/file").read_text() == "mine"


def test_a_failure_leaves_no_folder_that_was_made_for_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), temporary_sibling(tmp_path / "a/b/c"):
        _ = 1 / 0
    assert list_names(tmp_path) == []


def test_the_old_folder_is_back_where_the_new_one_cannot_take_its_place(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old/file").write_text("old")
    with pytest.raises(FileNotFoundError):
        move_folder(tmp_path / "missing", tmp_path / "old")
    assert list_names(tmp_path) == ["old"]
    assert (tmp_path / "old/file").read_text() == "old"


@pytest.mark.parametrize("exchanges", [True, False], ids=["in one step", "in two"])
def test_a_finished_folder_takes_the_place_of_an_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool
) -> None:
    if not exchanges:
        monkeypatch.setattr(temporaries, "_exchange", lambda first, second: False)
    (tmp_path / "old/deep").mkdir(parents=True)
    with temporary_sibling(tmp_path / "old") as new:
        (new / "file").write_text("new")
        move_folder(new, tmp_path / "old")
    assert list_names(tmp_path) == ["old"]
    assert list_names(tmp_path / "old") == ["file"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges two folders in one step")
def test_two_folders_change_places(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert temporaries._exchange(tmp_path / "first", tmp_path / "second")
    assert [list_names(tmp_path / name) for name in ("first", "second")] == [["second"], ["first"]]
    assert not temporaries._exchange(tmp_path / "first", tmp_path / "missing")


def test_a_file_has_the_permissions_that_the_user_wants(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "result") as file:
            file.write_text("whole")
    finally:
        os.umask(before)
    assert (tmp_path / "result").stat().st_mode & 0o777 == 0o640


def test_one_that_was_taken_for_a_leftover_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process looks between the making and the lock."""
    made: list[Path] = []
    lock = temporaries._lock

    def look_first(descriptor: int) -> bool:
        (path,) = set(tmp_path.iterdir())
        if not made:
            temporaries.remove_leftovers(tmp_path)
        made.append(path)
        return lock(descriptor)

    monkeypatch.setattr(temporaries, "_lock", look_first)
    with temporary_sibling(tmp_path / "a") as folder:
        assert folder.is_dir()
    assert len(set(made)) == 2


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "No space left on device; free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "File too large; raise the limit on the size of a file"),
        (errno.EROFS, "Read-only file system; choose a place that can be written to"),
    ],
)
def test_the_place_and_the_reason_are_named(tmp_path: Path, number: int, words: str) -> None:
    for error in (OSError(number, "as a library puts it"), OSError([("a", "b", f"[Errno {number}] so it is")])):
        with pytest.raises(WriteError) as failure, writing(tmp_path / "result"):
            raise error
        assert str(failure.value).startswith(f"{tmp_path / 'result'}: ")
        assert words.lower() in str(failure.value).lower()


def test_other_failures_pass_and_the_innermost_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), writing(tmp_path):
        (tmp_path / "missing").read_text()
    with (
        pytest.raises(WriteError, match="inner: No space left"),
        writing(tmp_path / "outer"),
        writing(tmp_path / "inner"),
    ):
        raise OSError(errno.ENOSPC, "full")


def test_a_file_past_the_limit_is_named_and_the_old_one_stays(tmp_path: Path) -> None:
    """The limit is the machine's own, in a process of its own."""
    (tmp_path / "array.npy").write_text("old")
    code = """
import resource, sys
from pathlib import Path
import numpy as np
from ur4rec.storage.contents import save_array
from ur4rec.storage.temporaries import replacing
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
with replacing(Path(sys.argv[1])) as temporary:
    save_array(temporary, np.zeros(100_000))
"""
    command = [sys.executable, "-c", code, str(tmp_path / "array.npy")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    *_, last = result.stderr.splitlines()
    assert last.endswith(
        f"WriteError: {tmp_path}/array.npy: File too large; raise the limit on the size of a file (`ulimit -f`)"
    )
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"array.npy": "old"}


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(WriteError, match=f"{name}: is there and is no file"), replacing(tmp_path / name):
            pass
    assert (tmp_path / "pipe").is_fifo()
    assert list_names(tmp_path) == ["folder", "pipe"]


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    with replacing(tmp_path / "link") as file:
        file.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"
