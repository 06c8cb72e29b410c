"""The MLflow server of the manifests: its own command and variables in its own image, with as few rights as there."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml
from mlflow_health import wait_until_healthy

MANIFEST = Path(__file__).parents[2] / "deploy/base/mlflow.yaml"
pytestmark = [pytest.mark.containers, pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def server(client: Any) -> Iterator[str]:
    """Address of the container, whose volumes are in memory."""
    manifests = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(MANIFEST.read_text())}
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    running = client.containers.run(
        image=container["image"],
        command=[port if part == "5000" else part for part in container["command"]],
        environment={variable["name"]: variable["value"] for variable in container["env"]},
        user=f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}",
        read_only=container["securityContext"]["readOnlyRootFilesystem"],
        cap_drop=container["securityContext"]["capabilities"]["drop"],
        security_opt=["no-new-privileges"],
        tmpfs={mount["mountPath"]: "rw,mode=1777" for mount in container["volumeMounts"]},
        network_mode="host",
        detach=True,
    )
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        running.remove(force=True)


def ask(address: str, host: str) -> int:
    body = json.dumps({"max_results": 1}).encode()
    headers = {"Host": host, "Content-Type": "application/json"}
    try:
        with urlopen(Request(f"{address}/api/2.0/mlflow/experiments/search", body, headers), timeout=60) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def test_answers_to_its_names_in_the_cluster_and_to_no_other(server: str) -> None:
    assert ask(server, "ur4rec-mlflow:5000") == 200
    assert ask(server, "ur4rec-mlflow.kubeflow.svc:5000") == 200
    assert ask(server, "localhost:5000") == 200
    assert ask(server, "elsewhere.example") == 403
