"""One registration against a real MLflow server, with credentials in its address."""

import subprocess
import sys
import time
import urllib.error
import urllib.request

import mlflow
import pandas as pd
import pytest

from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.register import register_model
from ur4rec.registry.tracking import open_mlflow

PASSWORD = "pa55-w0rd"


@pytest.fixture
def server(tracking_uri, tmp_path, free_port, monkeypatch):
    # Its background jobs are several processes more, of no use here.
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(free_port),
        "--workers",
        "1",
    ]
    command += ["--backend-store-uri", tracking_uri, "--artifacts-destination", str(tmp_path / "store")]
    with (tmp_path / "server.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_until_up(f"http://127.0.0.1:{free_port}/health", process)
            yield f"127.0.0.1:{free_port}"
        finally:
            process.terminate()


def wait_until_up(url, process):
    for _ in range(600):
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.URLError:
            time.sleep(0.1)
    pytest.fail("the server does not answer")


@pytest.mark.server
def test_registration_through_a_server(server, trained, tmp_path, capfd):
    uri = f"http://ann:{PASSWORD}@{server}"
    card = tmp_path / "card.md"
    registration = register_model(*trained.inputs, RegistryConfig(), tmp_path / "registration.json", uri, card=card)
    assert f"](http://{server}/#/models/ur4rec/versions/1), [run " in card.read_text()
    assert registration.tracking_uri == f"http://{server}"
    assert capfd.readouterr().out == ""
    again = register_model(*trained.inputs, RegistryConfig(), tmp_path / "again.json", uri)
    assert again == registration
    with open_mlflow(uri):
        model = mlflow.pyfunc.load_model("models:/ur4rec@challenger")
        table = model.predict(pd.DataFrame({"user_id": ["u03", "stranger"]}), params={"k": 2})
    assert table["source"].tolist() == ["user", "user", "fallback", "fallback"]
    leaks = [path for path in tmp_path.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert leaks == []
