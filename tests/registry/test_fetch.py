"""Models from where users have them: a bundle, a folder of outputs, the registry."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from toy_runs import Registered, Trained

from ur4rec.recommender.memories import describe_user, memory_statistics
from ur4rec.registry import fetch
from ur4rec.registry.fetch import fetch_bundle, open_recommender
from ur4rec.registry.local_database import find_files, find_local
from ur4rec.registry.mlflow_client import RegistryError, database_of, open_mlflow
from ur4rec.storage.artifacts import ArtifactError
from ur4rec.training.checkpoints import CheckpointError


@pytest.mark.parametrize("address", ["models:/ur4rec@challenger", "models:/ur4rec/1/"])
def test_the_bundle_of_a_local_registry_is_read_where_it_is(
    bundle: Path, registered: Registered, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    with fetch_bundle(address, registered.tracking_uri) as kept:
        assert memory_statistics(kept) == memory_statistics(bundle)
        assert describe_user(kept, "u03") == describe_user(bundle, "u03")
        assert kept.is_relative_to(registered.folder)
    assert kept.is_dir()
    monkeypatch.setattr(fetch, "find_files", lambda *_: None)
    with fetch_bundle(address, registered.tracking_uri) as copy:
        assert {path.name: path.read_bytes() for path in copy.iterdir()} == {
            path.name: path.read_bytes() for path in kept.iterdir()
        }
    assert not copy.exists()


def test_a_bundle_is_found_without_mlflow(registered: Registered) -> None:
    code = (
        "import sys\nfrom ur4rec.registry.fetch import fetch_bundle\n"
        f"with fetch_bundle('models:/ur4rec@challenger', {registered.tracking_uri!r}) as bundle:\n"
        "    print((bundle / 'manifest.json').is_file(), 'mlflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True False\n"


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("models:/ur4rec@nobody", "alias nobody not found"),
        ("models:/nothing/1", "nothing"),
        ("models:/ur4rec/99", "99"),
    ],
)
def test_what_is_not_there_is_refused_by_mlflow(registered: Registered, address: str, complaint: str) -> None:
    with pytest.raises(RegistryError, match=complaint), fetch_bundle(address, registered.tracking_uri):
        pass


def test_files_are_those_that_mlflow_names_and_strange_tables_are_left_to_it(
    registered: Registered, tmp_path: Path
) -> None:
    database = database_of(registered.tracking_uri)
    assert database is not None
    with open_mlflow(registered.tracking_uri, read_only=True) as client:
        place = client.get_model_version_download_uri("ur4rec", "1")
    assert find_files(database, "ur4rec", "1") == find_files(database, "ur4rec", "challenger") == find_local(place)
    copy = tmp_path / "mlflow.db"
    shutil.copy(database, copy)
    assert find_files(copy, "ur4rec", "1") is None  # a moved one is MLflow's to follow
    assert find_files(tmp_path / "nowhere.db", "ur4rec", "1") is None
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE experiment_tags SET value = ?", (str(tmp_path),))
    assert find_files(copy, "ur4rec", "1") == find_local(place)
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("ALTER TABLE model_versions RENAME COLUMN storage_location TO place")
    assert find_files(copy, "ur4rec", "1") is None


def test_bundle_and_outputs_recommend_the_same(bundle: Path, trained: Trained) -> None:
    outputs = trained.results.parent
    users = list(json.loads((bundle / "user_map.json").read_text()))[:4]
    from_bundle = open_recommender(bundle).recommend(users)
    assert open_recommender(outputs, trained.sequences).recommend(users).equals(from_bundle)


def test_outputs_without_sequences_are_explained(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="name the sequences it was trained on"):
        open_recommender(trained.results.parent)
    with pytest.raises(ArtifactError, match="nowhere: not found"):
        open_recommender(tmp_path / "nowhere")


@pytest.mark.parametrize("stage", ["pretrain_sasrec", "pretrain_retriever"])
def test_a_model_of_which_a_part_is_trained_recommends_nothing(trained: Trained, stage: str) -> None:
    folder = trained.checkpoint.parents[1] / stage / "checkpoint"
    with pytest.raises(CheckpointError, match=f"{folder}: only a part of the model is trained"):
        open_recommender(folder, trained.sequences)
