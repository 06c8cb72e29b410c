"""Versions without a model, on MLflow's own sqlite: enough to move aliases."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from ur4rec.registry.champion.history import History, fetch_history
from ur4rec.registry.gate.verdict import TAG_CHAMPION, TAG_VERDICT
from ur4rec.registry.mlflow_client import open_mlflow
from ur4rec.registry.versions import TAG_MODEL


@pytest.fixture
def client(tracking_uri: str) -> Iterator[MlflowClient]:
    with open_mlflow(tracking_uri) as client:
        client.create_registered_model("ur4rec")
        yield client


@pytest.fixture
def model_id(client: MlflowClient, tmp_path: Path) -> str:
    """Id of a logged model with the files that a version needs."""
    folder = tmp_path / "model"
    (folder / "artifacts/bundle").mkdir(parents=True)
    for name in ("MLmodel", "artifacts/bundle/manifest.json"):
        (folder / name).write_text("{}")
    logged = client.create_logged_model(client.create_experiment("toy", str(tmp_path / "files")), name="toy")
    client.log_model_artifacts(logged.model_id, str(folder))
    return str(client.finalize_logged_model(logged.model_id, "READY").model_id)


@pytest.fixture
def add(client: MlflowClient, model_id: str) -> Callable[..., str]:
    """Adds a version."""

    def add(verdict: str | None = "passed", champion: str = "none") -> str:
        tags = {} if verdict is None else {TAG_VERDICT: verdict, TAG_CHAMPION: champion}
        source = f"models:/{model_id}"
        version = client.create_model_version("ur4rec", source, model_id=model_id, tags={**tags, TAG_MODEL: model_id})
        return str(version.version)

    return add


@pytest.fixture
def history(client: MlflowClient) -> Callable[[], History]:
    return lambda: fetch_history(client, "ur4rec", "champion")
