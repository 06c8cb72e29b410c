"""Artifact folders that stages are trained from: users who walk through the items, and texts that mean nothing."""

from pathlib import Path

import numpy as np
import pandas as pd

from ur4rec.config_section import ConfigSection
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import load_sequences
from ur4rec.storage.artifacts import write_artifact
from ur4rec.text.embeddings import write_embeddings

NUM_USERS, NUM_ITEMS, LENGTH = 24, 20, 12


def write_sequences(folder: Path, first_time: int = 1_000) -> Path:
    """Every user walks through the items in order, from a place of their own."""
    rows = [
        (f"u{user}", f"i{(user + step) % NUM_ITEMS}", first_time + 60 * step)
        for user in range(NUM_USERS)
        for step in range(LENGTH)
    ]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(folder / "plays.csv", index=False)
    preprocess_sequences(folder / "plays.csv", folder / "sequences", DataConfig(dataset_name="plays"))
    return folder / "sequences"


def make_embeddings(folder: Path, sequences: Path, width: int = 5) -> Path:
    """A vector of each item, one sentence of the first user."""
    num_items = load_sequences(sequences).num_items
    vectors = np.random.default_rng(0).normal(size=(num_items + 1, width)).astype(np.float32)
    with write_artifact(folder, "encode_text", ConfigSection(), {"sequences": sequences}) as writer:
        one = np.array([num_items]), np.array([0, 1]), np.array([[1, 5]])
        write_embeddings(writer.folder, vectors, np.arange(num_items), *one)
    return folder
