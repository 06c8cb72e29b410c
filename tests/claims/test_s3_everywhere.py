"""Commands and MLflow on S3: what is said of `gs://` holds for `s3://` and for `minio://`, as Kubeflow writes it."""

from pathlib import Path

import pytest
from emulators import S3_ACCESS, put_at
from mlflow import MlflowClient
from typer.testing import CliRunner

from ur4rec.cli import app

pytestmark = pytest.mark.emulator
runner = CliRunner(env={"COLUMNS": "400", "TERM": "dumb", "NO_COLOR": "1"})
PLAYS = "user_id,item_id,timestamp\n" + "".join(
    f"u{user},i{(user + step) % 6},{10**9 + user * 100 + step}\n" for user in range(8) for step in range(6)
)


def run(*arguments: str) -> str:
    result = runner.invoke(app, [*arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    assert S3_ACCESS["AWS_SECRET_ACCESS_KEY"] not in result.output
    return result.output


@pytest.mark.parametrize("scheme", ["s3", "minio"])
def test_data_are_read_published_and_fetched(
    s3_bucket: str, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UR4REC_CACHE", str(tmp_path / "cached"))
    place = f"{scheme}://{s3_bucket}"
    put_at(f"s3://{s3_bucket}/plays/interactions.csv", PLAYS.encode())
    made, fetched = tmp_path / "made", tmp_path / "fetched"
    run("data", "preprocess", f"{place}/plays", "-o", str(made))
    assert f"{place}/sequences" in run("publish", str(made), f"{place}/sequences")
    run("data", "fetch", f"{place}/sequences", "-o", str(fetched))
    assert (fetched / "manifest.json").read_bytes() == (made / "manifest.json").read_bytes()
    assert run("data", "show", f"{place}/sequences").endswith(run("data", "show", str(made)))


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # MLflow's tables
def test_mlflow_keeps_the_files_of_runs_there(s3_bucket: str, tmp_path: Path) -> None:
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.create_experiment("toy", artifact_location=f"s3://{s3_bucket}/mlflow")
    recorded = client.create_run(experiment).info
    (tmp_path / "weights.pt").write_bytes(b"one" * 1000)
    client.log_artifact(recorded.run_id, str(tmp_path / "weights.pt"))
    (tmp_path / "back").mkdir()
    copy = client.download_artifacts(recorded.run_id, "weights.pt", str(tmp_path / "back"))
    assert Path(copy).read_bytes() == b"one" * 1000
    assert recorded.artifact_uri.startswith(f"s3://{s3_bucket}/mlflow/")
