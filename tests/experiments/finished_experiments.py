"""A small data set with random text vectors, and one ablation and one tuning that many tests look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy_experiments import LENGTH, NUM_ITEMS, NUM_USERS, SPACE, STAGE, TEXT_DIM, TOY, VARIANTS, write_yaml

from ur4rec.config import Config, load_config
from ur4rec.config_section import ConfigSection
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import load_sequences
from ur4rec.experiments.ablate import ablate
from ur4rec.experiments.ablation_table import AblationTable
from ur4rec.experiments.search_space import load_space
from ur4rec.experiments.stage_cache import StageInputs, read_inputs
from ur4rec.experiments.tune import Search, Tuning, tune
from ur4rec.experiments.variants import Ablation, load_variants
from ur4rec.storage.artifacts import write_artifact
from ur4rec.text.embeddings import write_embeddings


@pytest.fixture(scope="session")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`LENGTH` interactions of every user, each user one item further on; the items 15 and 16 are rare."""
    folder = tmp_path_factory.mktemp("experiments")
    rows = [
        (f"u{user}", f"i{(user + step) % NUM_ITEMS}", 1_000_000 + 100 * user + step)
        for user in range(NUM_USERS)
        for step in range(LENGTH - 2)
    ]
    rows += [(f"u{user}", f"i{user % 6 + 11}", 1_000_000 + 100 * user + LENGTH) for user in range(NUM_USERS)]
    rows += [(f"u{user}", f"i{user % 2 + 15}", 1_000_000 + 100 * user + LENGTH + 1) for user in range(NUM_USERS)]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(folder / "plays.csv", index=False)
    preprocess_sequences(folder / "plays.csv", folder / "sequences", DataConfig(dataset_name="plays"))
    return folder / "sequences"


@pytest.fixture(scope="session")
def embeddings(sequences: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One snapshot of two sentences for each user, after four interactions."""
    data = load_sequences(sequences)
    rng = np.random.default_rng(0)
    users = np.arange(1, data.num_users + 1)
    folder = tmp_path_factory.mktemp("experiments") / "embeddings"
    with write_artifact(folder, "encode_text", ConfigSection(), {"sequences": sequences}) as writer:
        write_embeddings(
            writer.folder,
            rng.normal(size=(20, TEXT_DIM)).astype(np.float32),
            rng.integers(20, size=data.num_items),
            rng.integers(20, size=2 * len(users)),
            np.arange(len(users) + 1) * 2,
            np.stack([users, np.full(len(users), 4)], axis=1),
        )
    return folder


@pytest.fixture(scope="session")
def config() -> Config:
    return load_config("toy", TOY)


@pytest.fixture(scope="session")
def inputs(sequences: Path, embeddings: Path) -> StageInputs:
    return read_inputs(sequences, embeddings, "cpu")


@pytest.fixture(scope="session")
def variants_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_yaml(tmp_path_factory.mktemp("experiments") / "variants.yaml", VARIANTS)


@pytest.fixture(scope="session")
def space_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_yaml(tmp_path_factory.mktemp("experiments") / "space.yaml", SPACE)


@pytest.fixture(scope="session")
def ablated(
    sequences: Path, embeddings: Path, config: Config, variants_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, AblationTable]:
    """Folder and table of three variants with two seeds, two at a time; not to be altered."""
    folder = tmp_path_factory.mktemp("experiments") / "ablation"
    ablation = Ablation(load_variants(variants_file), seeds=[1, 2])
    return folder, ablate(sequences, embeddings, folder, config, ablation, jobs=2, device="cpu")


@pytest.fixture(scope="session")
def search(space_file: Path, config: Config) -> Search:
    return Search(load_space(space_file, config, STAGE), num_trials=2, stage=STAGE)


@pytest.fixture(scope="session")
def tuned(
    sequences: Path, embeddings: Path, config: Config, search: Search, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Tuning]:
    """Folder and outcome of two trials; not to be altered."""
    folder = tmp_path_factory.mktemp("experiments") / "tuning"
    return folder, tune(sequences, embeddings, folder, config, search, device="cpu")
