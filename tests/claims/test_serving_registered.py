"""Both servers over a registered model, in processes of their own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from clean_registry import ask_mlflow
from present import present
from toy_runs import Registered

pytest_plugins = ["trained_toys"]

pytestmark = [pytest.mark.server, pytest.mark.timeout(900)]  # processes that import everything, on a busy machine
FORMS: list[dict[str, Any]] = [
    {"inputs": {"user_id": ["u03"]}},
    {"inputs": [{"user_id": "u03"}]},
    {"instances": [{"user_id": "u03"}]},
    {"dataframe_split": {"columns": ["user_id"], "data": [["u03"]]}},
]
"""The same request."""
JSON = {"Content-Type": "application/json"}
COMMAND = [sys.executable, "-c", "from ur4rec.cli import app; app()"]


@pytest.fixture
def environment(registered: Registered) -> dict[str, str]:
    return {**os.environ, "MLFLOW_TRACKING_URI": registered.tracking_uri}


def test_our_server_pins_the_version_that_an_alias_names(registered: Registered, environment: dict[str, str]) -> None:
    command = [*COMMAND, "serve", "--model", "models:/ur4rec@challenger", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            line = present(process.stdout).readline()
            assert line.startswith("serving models:/ur4rec@challenger (version 1) on http://127.0.0.1:")
            with httpx.Client(base_url=line.split()[-1], timeout=60) as client:
                identity = client.get("/version").json()
                call = {"requests": [{"user_id": "u03"}, {"history": ["i01"]}], "k": 3}
                answer = client.post("/recommend", json=call).json()
        finally:
            process.terminate()
            output, _ = process.communicate(timeout=120)
    assert (process.returncode, output) == (0, "stopped\n")
    registration = registered.registration
    assert (identity["name"], identity["version"]) == (registration.name, registration.version)
    assert identity["run_id"] == registration.run_id
    assert answer["model_version"] == "1"
    assert [result["source"] for result in answer["results"]] == ["user", "history"]


def test_an_alias_that_nobody_has_set_is_one_line(registered: Registered, environment: dict[str, str]) -> None:
    command = [*COMMAND, "serve", "--model", "models:/ur4rec@nobody", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert done.returncode == 2
    assert "nobody" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_mlflows_own_server_answers_and_refuses(
    registered: Registered, environment: dict[str, str], free_port: int, tmp_path: Path
) -> None:
    path = str(Path(sys.executable).parent)
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/ur4rec@challenger"]
    command += ["--env-manager", "local", "--port", str(free_port)]
    environment = {**environment, "PATH": f"{path}:{environment['PATH']}"}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process,
    ):
        try:
            _wait_until_up(f"http://127.0.0.1:{free_port}/ping", process)
            with httpx.Client(base_url=f"http://127.0.0.1:{free_port}", timeout=60) as client:
                rows = _invoke(client, [{"user_id": "u03", "history": []}]).json()["predictions"]
                forms = [client.post("/invocations", json={**form, "params": {"k": 2}}).json() for form in FORMS]
                refused = [_invoke(client, [{"user_id": "u03", "history": "i01"}]).status_code]
                refused.append(client.post("/invocations", content=b"\xff", headers=JSON).status_code)
                alive = client.get("/ping").status_code
        finally:
            process.terminate()
    assert [row["rank"] for row in rows] == [1, 2]
    assert forms == [{"predictions": rows}] * len(FORMS)
    assert refused == [400, 400]
    assert alive == 200


def _wait_until_up(url: str, process: subprocess.Popen[bytes]) -> httpx.Response:
    """It imports everything twice, which takes minutes where others want the processor too."""
    for _ in range(4000):
        assert process.poll() is None, "the server ended"
        try:
            return httpx.get(url, timeout=30)
        except httpx.HTTPError:
            time.sleep(0.1)
    pytest.fail("the server does not answer")


def _invoke(client: httpx.Client, records: list[dict[str, Any]]) -> httpx.Response:
    body = json.dumps({"dataframe_records": records, "params": {"k": 2}})
    return client.post("/invocations", content=body, headers=JSON)


def test_the_command_for_all_users_reads_the_registry(
    registered: Registered, environment: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "all.parquet"
    command = [*COMMAND, "recommend", "--all-users", "-o", str(output), "-k", "2"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(output)
    request = pd.DataFrame({"user_id": table["user_id"].unique()})
    expected = ask_mlflow("models:/ur4rec@challenger", request, {"k": 2}, registered.tracking_uri)
    assert table["item_id"].tolist() == expected["item_id"].tolist()
