"""Containers and a registry for them: of `make images`, run by docker or by podman behind the same interface."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from emulators import create_bucket, environment_of
from mlflow_health import wait_until_healthy
from postgres import running_postgres

from components.image import SLIM, TRAIN


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    """Of docker; skips the test where no containers can be run, or the images are not built."""
    docker = pytest.importorskip("docker")
    place = Path(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://"))
    if not place.is_socket():
        pytest.skip(f"no containers here: {place} is no socket; set DOCKER_HOST")
    client = docker.from_env(timeout=600)
    try:
        for image in (SLIM, TRAIN):
            client.images.get(image)
        yield client
    except docker.errors.ImageNotFound as error:
        pytest.skip(f"run `make images` first: {error}")
    finally:
        client.close()


@pytest.fixture(scope="session")
def registry(client: Any, gcs_emulator: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address of an MLflow server with its tables in PostgreSQL, and the bucket that gets its artifacts."""
    pytest.importorskip("psycopg2")
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running_postgres() as database:
        with environment_of(gcs_emulator):
            bucket = create_bucket()
            options = ("--backend-store-uri", database, "--artifacts-destination", f"gs://{bucket}/mlflow")
            command = [str(Path(sys.executable).parent / "mlflow"), "server", *options, "--workers", "1"]
            environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
            with (folder / "log").open("w") as log:
                process = subprocess.Popen(
                    [*command, "--port", str(port)],
                    env=environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        try:
            wait_until_healthy(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}", bucket
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()
