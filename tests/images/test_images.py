"""The images for real: built by `make images`, run by docker, or by podman behind the same interface.

Needs DOCKER_HOST, or docker's own socket, and the images of this version.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from text.llm.server import Behaviour, serve

from components.image import SLIM, TRAIN
from pipelines.containers import run_container
from ur4rec import __version__
from ur4rec.evaluation.results import load_results

docker = pytest.importorskip("docker")
pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]
REPOSITORY = Path(__file__).parents[2]
HARDENED = {"read_only": True, "tmpfs": {"/tmp": ""}, "cap_drop": ["ALL"], "network_mode": "none"}


@pytest.fixture(scope="module")
def client() -> Iterator[object]:
    place = Path(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://"))
    if not place.is_socket():
        pytest.skip(f"no containers here: {place} is no socket; set DOCKER_HOST")
    client = docker.from_env()
    try:
        for image in (SLIM, TRAIN):
            client.images.get(image)
        yield client
    except docker.errors.ImageNotFound as error:
        pytest.skip(f"run `make images` first: {error}")
    finally:
        client.close()


def run(client: object, image: str, command: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = run_container(client, image, command, {}, **HARDENED)
    return code, capsys.readouterr().out


@pytest.mark.parametrize("image", [SLIM, TRAIN])
def test_runs_hardened_and_not_as_root(client, image: str, capsys) -> None:
    assert run(client, image, ["ur4rec", "--version"], capsys) == (0, f"ur4rec {__version__}\n")
    code, identity = run(client, image, ["id", "-u"], capsys)
    assert (code, identity.strip()) == (0, "10001")
    assert run(client, image, ["touch", "/opt/ur4rec/x"], capsys)[0] != 0
    labels = client.images.get(image).labels
    assert labels["org.opencontainers.image.version"] == __version__


def test_slim_has_no_torch_and_all_that_its_tasks_import(client, capsys) -> None:
    modules = ("data.preprocess", "text.generate", "text.shards", "text.llm.provider", "text.llm.dashscope_client")
    imports = "import " + ", ".join(f"ur4rec.{module}" for module in (*modules, "storage.gcs", "config"))
    assert run(client, SLIM, ["python3", "-c", imports], capsys) == (0, "")
    assert "No module named 'torch'" in run(client, SLIM, ["python3", "-c", "import torch"], capsys)[1]


def test_a_failure_at_once_is_a_failure(client, capsys) -> None:
    """As often as the runner of kfp, which removes a container as it ends, takes it for a success."""
    for _ in range(5):
        assert run(client, SLIM, ["sh", "-c", "echo no; exit 3"], capsys) == (3, "no\n")


def test_no_layer_holds_a_secret_or_a_package_index(client) -> None:
    for image in (SLIM, TRAIN):
        told = json.dumps([client.images.get(image).attrs, client.images.get(image).history()])
        assert not re.search(r"pypi\.|index-url|sk-[a-z0-9]{8}|API_KEY", told)


@pytest.fixture(scope="module")
def mlflow_server(client, gcs_emulator: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a registry whose artifacts go to the emulator."""
    from emulators import create_bucket, environment_of

    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with environment_of(gcs_emulator):
        destination = f"gs://{create_bucket()}/mlflow"
        options = ("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", destination)
        command = [str(Path(sys.executable).parent / "mlflow"), "server", *options, "--workers", "1"]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen([*command, "--port", str(port)], stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert process.poll() is None
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("the MLflow server did not come up")


@pytest.fixture
def data(bucket: str) -> str:
    """Interactions and items below a prefix of the emulator."""
    from google.cloud import storage

    random = np.random.default_rng(0)
    rows = [
        (f"u{user}", f"i{(user + step * random.integers(1, 3)) % 40}", 1_000_000 + 100 * user + step)
        for user in range(60)
        for step in range(14)
    ]
    plays = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).drop_duplicates(["user_id", "item_id"])
    songs = pd.DataFrame({"item_id": [f"i{item}" for item in range(40)], "title": [f"Song {n}" for n in range(40)]})
    bucket_of = storage.Client(project="toy").bucket(bucket)
    for name, table in (("interactions", plays), ("items", songs)):
        bucket_of.blob(f"data/{name}.csv").upload_from_string(table.to_csv(index=False))
    return f"gs://{bucket}/data"


def run_pipeline(folder: Path, registry: str, data: str, *settings: str) -> subprocess.CompletedProcess[str]:
    settings = ("bootstrap_samples=100", "epochs_per_stage=1", "text_provider=openai", "text_max_attempts=2", *settings)
    options = [option for setting in settings for option in ("--set", setting)]
    command = [sys.executable, "-m", "pipelines", "run", "--runner", "docker", "--config", "toy", "--data", data]
    environment = os.environ | {"MLFLOW_TRACKING_URI": registry, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [*command, *options], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.emulator
@pytest.mark.server
def test_the_compiled_pipeline_in_containers(mlflow_server: str, data: str, tmp_path: Path) -> None:
    """Data, texts and models by way of servers; then a task that fails, which must fail the run."""
    cache = f"text_cache={data.rpartition('/')[0]}/texts"
    with serve(Behaviour()) as server:
        address = f"text_base_url={server.url}/compatible-mode/v1"
        done = run_pipeline(tmp_path, mlflow_server, data, cache, address)
        assert done.returncode == 0, done.stdout + done.stderr
        assert server.counts()["answered_prompts"] > 40
    assert "tasks: 11 run, 0 cached" in done.stdout
    assert "model:       ur4rec version 1, alias challenger" in done.stdout
    outputs = tmp_path / "outputs/ur4rec_moe"
    assert load_results(outputs / "results.json").test["UR4RecV2MoE"]["ndcg@10"].value > 0
    failed = run_pipeline(
        tmp_path, mlflow_server, data, cache, "text_base_url=http://127.0.0.1:9/v1", "snapshot_base=4"
    )
    assert failed.returncode == 1
    assert "Ask for texts: failed" in failed.stdout
    assert "connection to 127.0.0.1:9 failed" in failed.stdout
