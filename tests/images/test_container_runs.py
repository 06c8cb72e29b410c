"""The compiled pipeline in containers: data, texts and models by way of servers; failures; a task that is killed."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from kfp import compiler, dsl
from server import Behaviour, serve

from components.preprocess_sequences import preprocess_sequences
from components.pretrain_sasrec import pretrain_sasrec
from pipelines import local_executor
from pipelines.containers import plan_containers
from pipelines.inputs import Inputs, Tracking
from ur4rec.config import load_config
from ur4rec.data.sources import fetch
from ur4rec.evaluation.results import load_results

pytestmark = [pytest.mark.containers, pytest.mark.emulator, pytest.mark.slow, pytest.mark.timeout(1800)]
REPOSITORY = Path(__file__).parents[2]
KEY = "sk-of-the-toy-service"
STAGE = "pretrain_sasrec"


def open_bucket(name: str) -> Any:
    from google.cloud import storage

    return storage.Client(project="toy").bucket(name)


def run_pipeline(folder: Path, registry: str, data: str, *settings: str) -> subprocess.CompletedProcess[str]:
    settings = ("bootstrap_samples=100", "epochs_per_stage=1", "text_provider=dashscope", *settings)
    options = [option for setting in settings for option in ("--set", setting)]
    places = ["--data", data, "--state", f"{data.rpartition('/')[0]}/state"]
    command = [sys.executable, "-m", "pipelines", "run", "--runner", "docker", "--config", "toy", *places]
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": registry,
        "DASHSCOPE_API_KEY": KEY,
        "PYTHONPATH": str(REPOSITORY),
    }
    return subprocess.run(
        [*command, *options], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.server
@pytest.mark.ml100k
def test_movielens_from_cloud_storage_to_a_registered_model(
    client: Any, registry: tuple[str, str], bucket: str, tmp_path: Path
) -> None:
    """Texts by a language model, tables in PostgreSQL, artifacts in cloud storage; then a cached run and a failure."""
    address, artifacts = registry
    folder = fetch("ml-100k")
    for file in ("interactions.csv", "items.csv"):
        open_bucket(bucket).blob(f"data/{file}").upload_from_filename(str(folder / file))
    data, cache = f"gs://{bucket}/data", f"text_cache=gs://{bucket}/texts"
    with serve(Behaviour(api_key=KEY)) as server:
        asked = f"text_base_url={server.url}/api/v1"
        done = run_pipeline(tmp_path, address, data, cache, asked)
        assert done.returncode == 0, done.stdout + done.stderr
        counts = server.counts()
        assert counts["answered_prompts"] > 2000
        assert counts["wrong_key"] == 0
        again = run_pipeline(tmp_path, address, data, cache, asked)
        assert server.counts()["calls"] == counts["calls"]
    assert "tasks: 17 run, 0 cached" in done.stdout
    assert "model:       ur4rec version 1, alias challenger" in done.stdout
    assert again.returncode == 0, again.stdout + again.stderr
    assert "tasks: 5 run, 11 cached" in again.stdout
    outputs = tmp_path / "outputs/ur4rec_moe"
    assert load_results(outputs / "results.json").dataset.num_users == 943
    stored = [blob.name for blob in open_bucket(artifacts).list_blobs(prefix="mlflow/")]
    assert any(name.endswith("final_model.pt") or name.endswith("MLmodel") for name in stored)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path

    wrong = ("text_base_url=http://127.0.0.1:9/api/v1", "snapshot_base=4", "text_max_attempts=2")
    failed = run_pipeline(tmp_path, address, data, cache, *wrong)
    assert failed.returncode == 1
    assert "Ask for texts: failed" in failed.stdout
    assert "Report the run: done" in failed.stdout
    assert "connection to 127.0.0.1:9 failed" in failed.stdout


@dsl.pipeline(name="one-stage")
def one_stage(interactions: str, state: str, config: dict[str, Any]) -> None:
    """Two tasks of the training, retried as they are on a cluster, but sooner."""
    preprocessed = preprocess_sequences(
        interactions=interactions, items="", data_digest="", code_digest="", config={"min_seq_len": 3}
    )
    pretrain_sasrec(
        code_digest="",
        config=config,
        device="cpu",
        state=state,
        warm_start="",
        tracking_uri="",
        sequences=preprocessed.outputs["sequences"],
    ).set_retry(2, backoff_duration="1s")


def write_plays(file: Path) -> None:
    """Each user walks on through the items."""
    random = np.random.default_rng(0)
    rows = [
        (f"u{user}", f"i{(user + step * random.integers(1, 3)) % 40}", 1_000_000 + 100 * user + step)
        for user in range(60)
        for step in range(14)
    ]
    plays = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    plays.drop_duplicates(["user_id", "item_id"]).to_csv(file, index=False)


def test_the_retry_of_a_killed_task_goes_on_from_its_state(
    client: Any, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The container is killed as soon as it has stored a state; another one goes on, to the same weights."""
    write_plays(tmp_path / "plays.csv")
    compiler.Compiler().compile(one_stage, str(tmp_path / "pipeline.yaml"))
    monkeypatch.setattr(local_executor, "load_without_retries", lambda pipeline: pipeline.read_text())
    containers = plan_containers(
        load_config("toy"), Inputs(str(tmp_path / "plays.csv"), tracking=Tracking("http://unused")), tmp_path / "root"
    )
    epochs = {"epochs_per_stage": 150, "patience": 150, "sasrec_hidden_dim": 8, "max_seq_len": 8, "batch_size": 32}

    def train(state: str) -> tuple[list[int], dict[str, torch.Tensor]]:
        """Epochs that were told, and weights."""
        local_executor.execute(
            local_executor.Request(
                pipeline=tmp_path / "pipeline.yaml",
                arguments={"interactions": str(tmp_path / "plays.csv"), "state": state, "config": epochs},
                pipeline_root=tmp_path / "root",
                cache=tmp_path / ("cache of the second" if state else "cache"),  # a state changes no result
                containers=containers,
                outputs=tmp_path / "outputs.json",
            )
        )
        told = re.findall(rf'progress {STAGE} .*"epoch": (\d+)', capfd.readouterr().out)
        newest = max((tmp_path / "root").rglob(f"{STAGE}_best.pt"), key=lambda file: file.stat().st_mtime)
        return [int(epoch) for epoch in told], torch.load(newest, weights_only=True)

    whole, expected = train("")
    assert len(whole) > 100
    home, killed = f"gs://{bucket}/state", threading.Event()

    def kill_once_stored() -> None:
        storage = open_bucket(bucket)
        while not killed.wait(0.2):
            if list(storage.list_blobs(prefix=f"state/{STAGE}-", max_results=1)):
                (running,) = (one for one in client.containers.list() if STAGE in str(one.attrs["Config"]["Cmd"]))
                running.kill()
                killed.set()

    killer = threading.Thread(target=kill_once_stored)
    killer.start()
    try:
        resumed, weights = train(home)
        assert killed.is_set()
    finally:
        killed.set()
        killer.join()
    assert resumed.count(whole[0]) == 1  # or it would have begun anew
    assert resumed[-1] == whole[-1]
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert list(open_bucket(bucket).list_blobs(prefix="state/")) == []
