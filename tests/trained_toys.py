"""Fixtures that several folders share: a small trained system, and MLflow on a database of the test's own.

Whoever needs them loads this module as a plugin of pytest, so that a session trains each system once.
"""

import csv
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from clean_registry import clean_environment, copy_database
from emulators import find_free_port
from toy_runs import Registered, Trained

from ur4rec.config import load_config
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.local import train_all
from ur4rec.recommender.bundle import write_bundle
from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.mlflow_client import open_mlflow, prepare_mlflow
from ur4rec.registry.register import register_model
from ur4rec.storage.artifacts import write_artifact
from ur4rec.text.config import EncodeConfig
from ur4rec.text.embeddings import write_embeddings

prepare_mlflow()
with warnings.catch_warnings():
    # MLflow warns about its own type hints while it is imported.
    warnings.simplefilter("ignore")
    import mlflow.pyfunc  # noqa: F401

NUM_USERS, NUM_ITEMS = 30, 24
FOREIGN_WARNINGS = ("ignore::DeprecationWarning:mlflow", "ignore::FutureWarning:mlflow")
"""MLflow's, about its own dependencies."""
OWN = ("trained", "retrained", "repeating", "registered", "empty_database", "tracking_uri")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fixtures of the session run under the marks of the first test that asks, so every test gets them."""
    for item in items:
        if "registry" in item.path.parts or not set(OWN).isdisjoint(getattr(item, "fixturenames", ())):
            for line in FOREIGN_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(line))


def write_interactions(path: Path) -> Path:
    source = random.Random(5)
    rows: list[tuple[str, str, object]] = [("user_id", "item_id", "timestamp")]
    for user in range(1, NUM_USERS + 1):
        for step, item in enumerate(source.sample(range(1, NUM_ITEMS + 1), source.randint(4, 12))):
            rows.append((f"u{user:02}", f"i{item:02}", 1_000_000 + 1000 * user + 60 * step))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def write_repeats(path: Path) -> Path:
    """Every user plays six items of their own again and again; the first one has also played all others, long ago."""
    source = random.Random(9)
    rows: list[tuple[object, ...]] = [("user_id", "item_id", "timestamp")]
    rows += [("u01", f"i{item:02}", 900_000 + item) for item in range(1, NUM_ITEMS + 1)]
    for user in range(1, NUM_USERS + 1):
        shelf = source.sample(range(1, NUM_ITEMS + 1), 6)
        for step, item in enumerate([*shelf, *source.choices(shelf, k=8)]):
            rows.append((f"u{user:02}", f"i{item:02}", 1_000_000 + 1000 * user + 60 * step))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def make_embeddings(sequences: Path, folder: Path) -> Path:
    """Random vectors for every item, and one text of two sentences for the first user."""
    vectors = np.random.default_rng(3).normal(size=(NUM_ITEMS + 2, 8)).astype(np.float32)
    with write_artifact(folder, "encode_text", EncodeConfig(), {"sequences": sequences}) as writer:
        write_embeddings(
            writer.folder,
            vectors,
            items=np.arange(NUM_ITEMS),
            sentences=np.array([NUM_ITEMS, NUM_ITEMS + 1]),
            offsets=np.array([0, 2]),
            snapshots=np.array([[1, 2]]),
        )
    return folder


def train(folder: Path, write: Callable[[Path], Path] = write_interactions, **overrides: object) -> Trained:
    config = load_config("toy", {"epochs_per_stage": 1, "bootstrap_samples": 100, **overrides})
    interactions = write(folder / "plays.csv")
    preprocess_sequences(interactions, folder / "sequences", config.narrow(DataConfig))
    embeddings = make_embeddings(folder / "sequences", folder / "embeddings")
    run = train_all(folder / "sequences", embeddings, folder / "outputs", config, device="cpu")
    return Trained(
        config,
        folder / "sequences",
        run.checkpoint,
        run.memories,
        folder / "outputs/results.json",
        folder / "outputs/report.html",
    )


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sequences of the same interactions without every user's last one."""
    folder = tmp_path_factory.mktemp("older")
    config = DataConfig(dataset_name="toy", drop_last=1)
    preprocess_sequences(write_interactions(folder / "plays.csv"), folder / "sequences", config)
    return folder / "sequences"


@pytest.fixture
def free_port() -> int:
    return find_free_port()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The same data, another seed."""
    return train(tmp_path_factory.mktemp("retrained"), seed=11)


@pytest.fixture(scope="session")
def repeating(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Data of repeats alone, which rankings and recommendations include."""
    return train(tmp_path_factory.mktemp("repeating"), write_repeats, seen_items="include", epochs_per_stage=2)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, trained: Trained) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "bundle"
    write_bundle(trained.sequences, trained.checkpoint, path)
    return path


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes seconds to create its tables, so this is done once."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    with open_mlflow(f"sqlite:///{path}"):
        return path


@pytest.fixture
def tracking_uri(tmp_path: Path, empty_database: Path) -> Iterator[str]:
    """A database in a folder of the test's own."""
    with clean_environment(tmp_path):
        yield copy_database(empty_database, tmp_path)


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory, trained: Trained, empty_database: Path) -> Registered:
    folder = tmp_path_factory.mktemp("registered")
    with clean_environment(folder):
        uri = copy_database(empty_database, folder)
        registration = register_model(*trained.inputs, RegistryConfig(), folder / "registration.json", uri)
    return Registered(registration, uri, folder)
