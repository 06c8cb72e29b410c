import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
from present import present

from ur4rec.registry.mlflow_client import (
    TRACKING_URI,
    RegistryError,
    ensure_experiment,
    open_mlflow,
    prepare_mlflow,
    public_uri,
    resolve_tracking_uri,
)


@pytest.mark.parametrize(
    ("uri", "public"),
    [
        ("http://ann:s3cret@mlflow.example:5000/base", "http://mlflow.example:5000/base"),
        ("https://token@mlflow.example", "https://mlflow.example"),
        ("https://mlflow.example:443/?key=s3cret", "https://mlflow.example:443/"),
        ("postgresql://ann:s3cret@db/mlflow?sslmode=require", "postgresql://db/mlflow"),
        ("sqlite:////data/a@b.db", "sqlite:////data/a@b.db"),
        ("databricks", "databricks"),
    ],
)
def test_public_uri_has_no_credentials(uri: str, public: str) -> None:
    assert public_uri(uri) == public


def test_the_address_is_the_argument_then_the_environment_then_a_local_file(
    tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolve_tracking_uri(None) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://from.environment")
    assert resolve_tracking_uri(None) == "http://from.environment"
    assert resolve_tracking_uri("http://from.argument") == "http://from.argument"


def test_a_relative_database_becomes_absolute_and_gets_its_folder(tracking_uri: str, tmp_path: Path) -> None:
    assert resolve_tracking_uri("sqlite:///deep/er/m.db") == f"sqlite:///{tmp_path}/deep/er/m.db"
    with open_mlflow("sqlite:///deep/er/m.db"):
        assert (tmp_path / "deep/er").is_dir()


@pytest.mark.parametrize("uri", [None, "sqlite:///deep/er/m.db"])
def test_a_reader_makes_no_database(tracking_uri: str, tmp_path: Path, uri: str | None) -> None:
    before = sorted(tmp_path.rglob("*"))
    with (
        pytest.raises(RegistryError, match=r"m.*\.db: not found; register a model first"),
        open_mlflow(uri, read_only=True),
    ):
        pass
    assert sorted(tmp_path.rglob("*")) == before
    with open_mlflow(f"{tracking_uri}?timeout=5", read_only=True) as client:
        assert not client.search_registered_models()


@pytest.mark.parametrize("before", [None, "sqlite:////somewhere/else.db"])
def test_the_global_address_is_put_back(tracking_uri: str, monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    if before:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", before)
    with open_mlflow(tracking_uri) as client:
        assert client.tracking_uri == mlflow.get_tracking_uri() == tracking_uri
    assert os.environ.get("MLFLOW_TRACKING_URI") == before
    assert mlflow.get_tracking_uri() != tracking_uri


def test_one_block_inside_another_leaves_no_address(tracking_uri: str) -> None:
    with open_mlflow(tracking_uri), open_mlflow(tracking_uri):
        assert os.environ[TRACKING_URI] == tracking_uri
    assert TRACKING_URI not in os.environ


def test_telemetry_is_off_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    prepare_mlflow()
    assert os.environ["DO_NOT_TRACK"] == "true"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "false"


def test_a_server_that_is_not_there_is_named_without_its_password(
    tracking_uri: str, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with (
        pytest.raises(RegistryError) as caught,
        open_mlflow(f"http://ann:s3cret@127.0.0.1:{free_port}") as client,
    ):
        ensure_experiment(client, "ur4rec")
    message = str(caught.value)
    assert message.startswith(f"MLflow at http://127.0.0.1:{free_port}: ")
    assert message.endswith(
        "no usable answer: Failed to establish a new connection: [Errno 111] Connection refused; check "
        "MLFLOW_TRACKING_URI and that `mlflow server` is up, or unset it to use a local mlflow.db"
    )
    assert "s3cret" not in message


def test_a_file_that_is_no_database_is_named(tracking_uri: str, tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_text("not a database, but long enough to be read as a header of one")
    with (
        pytest.raises(RegistryError, match=r"broken\.db: .*not a database; the file is damaged.* restore a copy of it"),
        open_mlflow(f"sqlite:///{tmp_path}/broken.db"),
    ):
        pass


def test_a_damaged_database_is_named(tracking_uri: str) -> None:
    database = Path(tracking_uri.removeprefix("sqlite:///"))
    damaged = bytearray(database.read_bytes())
    damaged[4096:] = bytes(len(damaged) - 4096)
    database.write_bytes(damaged)
    with (
        pytest.raises(RegistryError, match=r"mlflow\.db: .*malformed; the file is damaged.* restore a copy of it"),
        open_mlflow(tracking_uri, read_only=True) as client,
    ):
        client.search_registered_models()


def test_a_reader_leaves_an_empty_file_empty(tracking_uri: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty.db"
    empty.touch()
    with (
        pytest.raises(RegistryError, match=r"empty\.db: is empty; register a model first"),
        open_mlflow(f"sqlite:///{empty}", read_only=True),
    ):
        pass
    assert empty.stat().st_size == 0


@pytest.mark.parametrize(
    ("address", "ask", "message"),
    [
        (None, lambda client: client.get_model_version_by_alias("toy", "next"), "alias next not found; `ur4rec regis"),
        (None, lambda client: client.get_model_version("toy", "9"), "not found; `ur4rec registry list` shows"),
        (None, lambda _: mlflow.artifacts.download_artifacts("models:/toy/artifacts"), "; write models:/NAME@ALIAS or"),
        ("mlflow.db", lambda client: client.search_registered_models(), "; a sqlite file is named sqlite:///PATH"),
    ],
)
def test_what_can_be_put_right_is_said(
    tracking_uri: str, address: str | None, ask: Callable[..., Any], message: str
) -> None:
    with open_mlflow(tracking_uri) as client:
        client.create_registered_model("toy")
    with pytest.raises(RegistryError, match=message), open_mlflow(address or tracking_uri) as client:
        ask(client)


def test_an_experiment_is_made_once(tracking_uri: str) -> None:
    with open_mlflow(tracking_uri) as client:
        assert ensure_experiment(client, "ur4rec") == ensure_experiment(client, "ur4rec")
        location = present(client.get_experiment_by_name("ur4rec")).artifact_location
        assert location.startswith("file:///")
        assert location.endswith("/mlflow/mlartifacts")


def test_a_deleted_experiment_is_explained(tracking_uri: str) -> None:
    with open_mlflow(tracking_uri) as client:
        experiment_id = ensure_experiment(client, "ur4rec")
        client.delete_experiment(experiment_id)
        with pytest.raises(RegistryError, match=f"restore --experiment-id {experiment_id}"):
            ensure_experiment(client, "ur4rec")
