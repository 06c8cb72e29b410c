"""Failures name the path that the user knows."""

import errno
from pathlib import Path

import pytest

from ur4rec.storage.writing import WriteError, name_origins, named, remember_copy, writing


def test_a_full_disk_is_named_with_what_to_do() -> None:
    for error in (
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.ENOSPC, "No space left on device", "/temporary"),
        OSError("[('a', 'b', '[Errno 28] No space left on device')]"),  # as shutil.copytree tells it
    ):
        with pytest.raises(WriteError) as caught, writing(Path("/full/x")):
            raise error
        assert str(caught.value) == "/full/x: No space left on device; free some space"
    inner = WriteError(errno.EROFS, "read-only", "/inner")
    with pytest.raises(WriteError) as caught, writing(Path("/outer")):
        raise inner
    assert caught.value is inner


def test_other_failures_pass() -> None:
    with pytest.raises(FileNotFoundError) as caught, writing(Path("/full/x")):
        raise FileNotFoundError(errno.ENOENT, "No such file", "/there")
    assert caught.value.filename == "/there"


def test_a_copy_is_told_by_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ur4rec.storage.writing._COPIES", {})
    copy = Path("/scratch/copy")
    with pytest.raises(ValueError, match=r"^gs://b/p/a: odd, as is 3$"), named(copy, "gs://b/p"):
        raise ValueError(f"{copy}/a: odd, as is 3")
    with pytest.raises(OSError, match="gs://b/p/a") as caught, named(copy, "gs://b/p"):
        raise OSError(errno.EIO, "broken", f"{copy}/a", None, copy / "b")
    assert (caught.value.filename, caught.value.filename2) == ("gs://b/p/a", "gs://b/p/b")
    remember_copy(Path("/cache/copy"), "gs://b/q")
    assert name_origins("/cache/copy/a: odd; /elsewhere") == "gs://b/q/a: odd; /elsewhere"
