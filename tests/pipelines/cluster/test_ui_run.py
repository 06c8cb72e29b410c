"""A run that a person starts in the interface: the compiled file uploaded, nothing filled in but the interactions."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from emulators import ADDRESS_VARIABLE, find_free_port, put_object
from kfp_server import KfpServer
from kfp_server_api import (
    V2beta1Experiment,
    V2beta1PipelineVersionReference,
    V2beta1Run,
    V2beta1RuntimeConfig,
)
from pods import Pods
from registry_servers import running_server
from typer.testing import CliRunner

from pipelines.__main__ import app
from pipelines.cluster.connection import connect
from pipelines.compilation import compile_pipeline
from pipelines.options import ImageOptions
from ur4rec.registry.environment import DEFAULTS
from ur4rec.training.stage_names import STAGES

pytestmark = [pytest.mark.server, pytest.mark.emulator, pytest.mark.slow]
MANIFEST = Path(__file__).parents[3] / "deploy/base/defaults.yaml"


@pytest.fixture
def plays(bucket: str) -> str:
    """Twenty-four users in a bucket."""
    draw = random.Random(3)
    rows = [f"u{user},i{item},{item}" for user in range(24) for item in draw.sample(range(20), 12)]
    put_object(bucket, "plays/interactions.csv", "user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    return f"gs://{bucket}/plays"


@pytest.fixture
def network(gcs_emulator: str) -> dict[str, str]:
    return {ADDRESS_VARIABLE: gcs_emulator}


@pytest.fixture
def mlflow_address(tmp_path: Path) -> Iterator[str]:
    store, files = f"sqlite:///{tmp_path / 'server.db'}", str(tmp_path / "files")
    with running_server(store, files, find_free_port(), tmp_path / "server.log") as server:
        yield server.address


def read_defaults(**changes: str) -> dict[str, dict[str, str]]:
    """The config map that the manifests make, with what an overlay changes."""
    manifest = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    return {manifest["metadata"]["name"]: manifest["data"] | changes}


def start(folder: Path, parameters: dict[str, Any]) -> str:
    """Uploads the file and starts a run as the interface does; returns the id of the run."""
    compile_pipeline(folder / "mine.yaml", ImageOptions(image_repository="registry.example/team/ur4rec-python"))
    client = connect().client
    pipeline = client.pipeline_uploads.upload_pipeline(str(folder / "mine.yaml"), name="uploaded")
    experiment = client.experiments.experiment_service_create_experiment(V2beta1Experiment(display_name="Default"))
    run = client.runs.run_service_create_run(
        V2beta1Run(
            display_name="from the interface",
            experiment_id=experiment.experiment_id,
            pipeline_version_reference=V2beta1PipelineVersionReference(pipeline_id=pipeline.pipeline_id),
            runtime_config=V2beta1RuntimeConfig(parameters=parameters),
        )
    )
    return str(run.run_id)


def show_status(run_id: str) -> str:
    return CliRunner().invoke(app, ["status", run_id], env={"COLUMNS": "200"}).output


@pytest.mark.timeout(1800)
def test_nothing_but_the_interactions_trains_registers_and_judges(
    kfp_server: KfpServer, tmp_path: Path, plays: str, network: dict[str, str], mlflow_address: str
) -> None:
    run_id = start(tmp_path, {"interactions": plays})
    bucket = plays.removesuffix("/plays")
    defaults = read_defaults(MLFLOW_TRACKING_URI=mlflow_address, UR4REC_STATE=f"{bucket}/state")
    log = kfp_server.execute(run_id, tmp_path, Pods(defaults, network=network))
    (tmp_path / "log.txt").write_text(log)
    assert f"run {run_id}: SUCCEEDED" in show_status(run_id), log
    client = mlflow.MlflowClient(mlflow_address)
    (version,) = client.search_model_versions("name = 'ur4rec'")
    assert version.tags["ur4rec.kfp_run_id"] == run_id
    assert version.tags["ur4rec.gate_verdict"]
    children = [run for run in client.search_runs(["1"]) if run.info.run_id != version.run_id]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {version.run_id}
    assert sorted(run.data.tags["ur4rec.stage"] for run in children) == sorted(STAGES)
    assert {run.info.status for run in children} == {"FINISHED"}
    for pod in (tmp_path / "pods").iterdir():
        assert not list(pod.glob("mlflow.db")), "no task has a registry of its own"


def test_a_cluster_without_a_registry_says_so_before_anything_is_trained(
    kfp_server: KfpServer, tmp_path: Path, plays: str, network: dict[str, str]
) -> None:
    run_id = start(tmp_path, {"interactions": plays})
    began = time.monotonic()
    log = kfp_server.execute(run_id, tmp_path, Pods(network=network))
    assert time.monotonic() - began < 60
    assert f"preflight: MLflow: tracking_uri is empty, and the config map {DEFAULTS}" in log
    assert "report-run: run " in log
    output = show_status(run_id)
    assert f"run {run_id}: FAILED" in output
    assert {pod.name.partition("-")[2] for pod in (tmp_path / "pods").iterdir()} == {"preflight", "report-run"}


def test_everything_that_is_missing_is_told_at_once(
    kfp_server: KfpServer, tmp_path: Path, bucket: str, network: dict[str, str]
) -> None:
    parameters = {
        "interactions": f"gs://{bucket}/nothing",
        "items": "/home/me/items.csv",
        "tracking_uri": f"http://127.0.0.1:{find_free_port()}",
        "state": "gs://no-such-bucket/state",
        "text_provider": "dashscope",
        "settings": {"text_cache": f"gs://{bucket}/texts"},
    }
    run_id = start(tmp_path, parameters)
    log = kfp_server.execute(run_id, tmp_path, Pods(read_defaults(), network=network))
    for line in (
        f"preflight: gs://{bucket}/nothing: nothing is there",
        "preflight: /home/me/items.csv: not found on the pod; expected",
        "preflight: MLflow at http://127.0.0.1:",
        "preflight: state: gs://no-such-bucket/state: ",
        "preflight: texts: no API key for dashscope; set DASHSCOPE_API_KEY",
    ):
        assert line in log, log
    assert {pod.name.partition("-")[2] for pod in (tmp_path / "pods").iterdir()} == {"preflight", "report-run"}
