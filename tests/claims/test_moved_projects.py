"""A project's folder is moved or copied: files lie beside the database that names them."""

import json
import shutil
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest
from clean_registry import ask_mlflow, clean_environment, copy_database
from emulators import find_free_port
from registry_servers import running_server
from toy_runs import Registered, Trained

from ur4rec.registry.champion.promotion import promote
from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.fetch import fetch_bundle, open_recommender
from ur4rec.registry.mlflow_client import RegistryError, open_mlflow
from ur4rec.registry.register import register_model
from ur4rec.registry.version_table import list_versions

pytest_plugins = ["trained_toys"]

CHALLENGER = "models:/ur4rec@challenger"
CONFIG = RegistryConfig()
REQUEST = pd.DataFrame({"user_id": ["u03"]})


def address_of(project: Path) -> str:
    return f"sqlite:///{project}/mlflow/mlflow.db"


def ask(project: Path) -> list[str]:
    """What the commands answer, which is what MLflow answers."""
    with fetch_bundle(CHALLENGER, address_of(project)) as bundle:
        items = open_recommender(bundle).recommend(["u03"], k=5)["item_id"].tolist()
    assert ask_mlflow(CHALLENGER, REQUEST, {"k": 5}, address_of(project))["item_id"].tolist() == items
    return items


def list_all(folder: Path) -> dict[str, int]:
    """Every file and its time, but for the one that MLflow writes into a model's folder each time it loads it."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "registered_model_meta"]
    return {str(path): path.stat().st_mtime_ns for path in files}


def read_locations(project: Path) -> set[str]:
    with closing(sqlite3.connect(project / "mlflow/mlflow.db")) as database:
        queries = (
            "SELECT artifact_location FROM experiments",
            "SELECT artifact_uri FROM runs",
            "SELECT artifact_location FROM logged_models",
            "SELECT storage_location FROM model_versions",
        )
        return {location for query in queries for (location,) in database.execute(query) if location}


def run_gate(sequences: Path, project: Path) -> None:
    """In a process of its own: MLflow remembers where the files of a run are by its id alone."""
    program = str(Path(sys.executable).with_name("ur4rec"))
    options = ["--version", "1", "--tracking-uri", address_of(project)]
    result = subprocess.run(
        [program, "registry", "gate", str(sequences), *options], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1, result.stderr
    assert "against champion none" in result.stdout


@pytest.fixture
def base(tmp_path: Path, registered: Registered) -> Iterator[Path]:
    """A project whose name needs quoting in a URL, with one registered model."""
    folder = tmp_path / "the base"
    shutil.copytree(registered.folder, folder)
    with clean_environment(tmp_path):
        assert len(ask(folder)) == 5
        yield folder


def test_a_copy_registers_beside_its_own_database_and_the_base_may_go(
    base: Path, tmp_path: Path, retrained: Trained
) -> None:
    copy, before = tmp_path / "copy", list_all(base)
    shutil.copytree(base, copy)
    made = register_model(*retrained.inputs, CONFIG, copy / "registration.json", address_of(copy))
    assert list_all(base) == before
    shutil.rmtree(base)
    assert len(ask(copy)) == 5
    with open_mlflow(address_of(copy)) as client:
        for version in ("1", made.version):
            place = client.get_model_version_download_uri("ur4rec", version)
            assert place.startswith((copy / "mlflow/mlartifacts/models").as_uri())


def test_a_moved_project_answers_lists_and_promotes(
    base: Path, tmp_path: Path, trained: Trained, capfd: pytest.CaptureFixture[str]
) -> None:
    answer, moved = ask(base), tmp_path / "moved to here"
    base.rename(moved)
    capfd.readouterr()
    assert ask(moved) == answer
    notice = f"{moved}/mlflow/mlflow.db: was made in {base}/mlflow; its files are now looked for beside it\n"
    assert notice in capfd.readouterr().err
    assert list_versions(CONFIG, address_of(moved))[0].version == "1"
    run_gate(trained.sequences, moved)
    assert list((moved / "mlflow/mlartifacts").rglob("gate/verdict.json"))
    assert promote(CONFIG, "1", force=True, reason="moved", tracking_uri=address_of(moved)).version == "1"
    again = register_model(*trained.inputs, CONFIG, moved / "registration.json", address_of(moved))
    assert again.version == "1", "the version made from the same inputs is found with its files"
    assert "was made in" not in capfd.readouterr().err
    assert not [place for place in read_locations(moved) if quote(str(base)) in place]


def test_mlflows_own_server_shows_the_files_of_a_moved_project(base: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    base.rename(moved)
    ask(moved)
    port = find_free_port()
    with running_server(address_of(moved), str(tmp_path / "unused"), port, tmp_path / "log") as server:
        with open_mlflow(server.address) as client:
            run_id = client.get_model_version("ur4rec", "1").run_id
        url = f"{server.address}/ajax-api/2.0/mlflow/artifacts/list?run_id={run_id}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            files = {file["path"] for file in json.load(answer)["files"]}
    assert {"results.json", "report.html", "model_card.md"} <= files


def test_locations_outside_of_the_old_folder_stay(base: Path, tmp_path: Path) -> None:
    with open_mlflow(address_of(base)) as client:
        elsewhere = (tmp_path / "the base of others").as_uri()
        client.create_experiment("elsewhere", elsewhere)
        client.create_experiment("in a bucket", "gs://bucket/the base")
    base.rename(tmp_path / "moved")
    ask(tmp_path / "moved")
    assert {elsewhere, "gs://bucket/the base"} <= read_locations(tmp_path / "moved")


def test_a_copy_of_the_database_alone_finds_the_files_where_they_are(
    base: Path, tmp_path: Path, retrained: Trained
) -> None:
    alone, before = tmp_path / "alone", list_all(base)
    alone.mkdir()
    copy_database(base / "mlflow/mlflow.db", alone)
    assert ask(alone) == ask(base)
    register_model(*retrained.inputs, CONFIG, alone / "registration.json", address_of(alone))
    assert list_all(base) == before
    assert len(ask(alone)) == 5


def test_the_same_folder_under_another_name_is_not_moved(
    base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link").symlink_to(base)
    before = read_locations(base)
    ask(tmp_path / "link")
    assert read_locations(base) == before
    assert "was made in" not in capfd.readouterr().err


def test_files_that_were_left_behind_are_named_with_the_folder(base: Path, tmp_path: Path) -> None:
    base.rename(tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved/mlflow/mlartifacts")
    with pytest.raises(RegistryError) as refused:
        ask(tmp_path / "moved")
    message = str(refused.value)
    assert message.startswith(f"{tmp_path}/moved/mlflow/mlartifacts/models/m-")
    assert ": not found, where sqlite:///" in message
    assert "if the project was moved or copied, put its mlartifacts there" in message


def test_projects_of_earlier_releases_are_followed_from_their_next_registration_on(
    base: Path, tmp_path: Path, retrained: Trained
) -> None:
    with closing(sqlite3.connect(base / "mlflow/mlflow.db")) as database, database:
        database.execute("DELETE FROM experiment_tags")
    register_model(*retrained.inputs, CONFIG, base / "registration.json", address_of(base))
    base.rename(tmp_path / "moved")
    assert len(ask(tmp_path / "moved")) == 5
