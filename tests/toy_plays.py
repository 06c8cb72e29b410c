"""A small file of plays, and random texts for it."""

from pathlib import Path

import numpy as np

from ur4rec.data.sequences import load_sequences
from ur4rec.storage.artifacts import write_artifact
from ur4rec.text.config import EncodeConfig
from ur4rec.text.embeddings import write_embeddings

NUM_USERS, NUM_ITEMS = 20, 12


def write_plays(path: Path) -> Path:
    """Four to eight items of each user, drawn at random and named so that their order is that of their ids."""
    random = np.random.default_rng(1)
    rows = ["user_id,item_id,timestamp"]
    for user in range(NUM_USERS):
        items = random.permutation(NUM_ITEMS)[: random.integers(4, 9)]
        rows += [f"u{user:02},i{item:02},{place}" for place, item in enumerate(items, 1)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def make_embeddings(sequences: Path, folder: Path, seed: int = 3) -> Path:
    """Random vectors for the items, one text of one sentence for the first user."""
    data = load_sequences(sequences)
    vectors = np.random.default_rng(seed).normal(size=(data.num_items + 1, 8)).astype(np.float32)
    with write_artifact(folder, "encode_text", EncodeConfig(), {"sequences": sequences}) as writer:
        sentences, points = np.array([data.num_items]), np.array([[1, 2]])
        write_embeddings(writer.folder, vectors, np.arange(data.num_items), sentences, np.array([0, 1]), points)
        writer.details["sequences_digest"] = data.digest
    return folder
