import subprocess
import sys
from pathlib import Path

import pytest

from ur4rec.storage.folders import digest_folder, publish_folder
from ur4rec.storage.locks import LOCK, FolderInUseError, lock_folder

HOLD = "from pathlib import Path\nfrom ur4rec.storage.locks import *\nwith lock_folder(Path({folder!r})): {then}"


def hold(folder: Path, then: str = "pass") -> list[str]:
    return [sys.executable, "-c", HOLD.format(folder=str(folder), then=then)]


def test_a_folder_is_locked_against_other_processes(tmp_path: Path) -> None:
    folder = tmp_path / "not/there/yet"
    with lock_folder(folder):
        process = subprocess.run(hold(folder), capture_output=True, text=True, check=False)
    assert "FolderInUseError" in process.stderr
    assert "another run is using it" in process.stderr
    subprocess.run(hold(folder), check=True)


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    command = hold(tmp_path, "print('held', flush=True); import time; time.sleep(600)")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(FolderInUseError), lock_folder(tmp_path):
            pass
        process.kill()
    with lock_folder(tmp_path):
        pass


def test_a_second_lock_in_the_same_process_is_refused_too(tmp_path: Path) -> None:
    refused = pytest.raises(FolderInUseError, match="or choose another -o")
    with lock_folder(tmp_path), refused, lock_folder(tmp_path, "another -o"):
        pass
    with lock_folder(tmp_path):
        pass


def test_the_lock_is_no_part_of_what_is_published(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/results.json").write_text("{}")
    before = digest_folder(tmp_path / "source")
    with lock_folder(tmp_path / "source"):
        assert digest_folder(tmp_path / "source") == before
        publish_folder(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "source" / LOCK).is_file()
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["results.json"]
