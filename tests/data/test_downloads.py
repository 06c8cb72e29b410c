"""Downloads over the loopback interface, and pip as a program of our own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ur4rec.data import downloads
from ur4rec.data.downloads import download, download_wheel
from ur4rec.data.errors import SourceError


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "data.zip").write_bytes(b"x" * 200_000)
    handler = partial(QuietHandler, directory=str(tmp_path / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.server
def test_download(site: str, tmp_path: Path) -> None:
    assert download(f"{site}/data.zip", tmp_path / "data.zip").read_bytes() == b"x" * 200_000


@pytest.mark.server
def test_download_of_something_missing(site: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"/absent\.zip: .*(404|File not found)"):
        download(f"{site}/absent.zip", tmp_path / "data.zip")


@pytest.mark.server
def test_download_of_something_absurdly_large(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "MAX_DOWNLOAD_BYTES", 1_000)
    with pytest.raises(SourceError, match="more than 1,000 bytes; refused"):
        download(f"{site}/data.zip", tmp_path / "data.zip")


def test_download_without_a_server(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"http://127\.0\.0\.1:9/data\.zip: .*refused"):
        download("http://127.0.0.1:9/data.zip", tmp_path / "data.zip")


def fake_python(folder: Path, script: str) -> str:
    """An interpreter whose pip does what `script` says; the wheel's folder is `$9`."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_wheel_comes_from_the_pip_of_this_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        f'echo "$@" > {tmp_path}/arguments; while [ "$1" != --dest ]; do shift; done; touch "$2/toy-1-py3-none-any.whl"'
    )
    monkeypatch.setattr(sys, "executable", fake_python(tmp_path, script))
    (tmp_path / "wheels").mkdir()
    assert download_wheel("toy==1", tmp_path / "wheels") == tmp_path / "wheels" / "toy-1-py3-none-any.whl"
    arguments = (tmp_path / "arguments").read_text()
    assert arguments.startswith("-m pip ")
    assert "--no-deps" in arguments
    assert "index" not in arguments


def test_what_pip_says_is_passed_on_without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'echo "WARNING: slow" >&2; echo "ERROR: no toy at https://me:secret@host/simple" >&2; exit 1'
    monkeypatch.setattr(sys, "executable", fake_python(tmp_path, script))
    with pytest.raises(SourceError, match=r"pip download toy==1: ERROR: no toy at https://host/simple$"):
        download_wheel("toy==1", tmp_path)


def test_pip_that_brings_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", fake_python(tmp_path, "true"))
    with pytest.raises(SourceError, match="no wheel came"):
        download_wheel("toy==1", tmp_path)


def test_pip_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", fake_python(tmp_path, "exec sleep 60"))
    monkeypatch.setattr(downloads, "PIP_TIMEOUT_S", 0.1)
    with pytest.raises(SourceError, match="timed out"):
        download_wheel("toy==1", tmp_path)
