"""A bundle of a generated catalogue with an untrained model: as large as asked for, good for speed only.

Letters: U users, N items, L interactions a user, K neighbours an item.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.catalogue import SECONDS_BETWEEN, generate_sequences
from ur4rec.columns import ITEM_ID, TITLE
from ur4rec.data.sequences import ITEM_MAP, ITEMS, USER_MAP, Histories
from ur4rec.models.config import ModelConfig
from ur4rec.models.cooccurrence import NeighborTables
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.recommender.bundle import HISTORIES, MEMORIES, POPULARITY, PRODUCER, BundleConfig, count_popularity
from ur4rec.storage.artifacts import write_artifact
from ur4rec.training.checkpoints import FINAL_MODEL, write_model_config
from ur4rec.training.scoring import ModelScorer


def write_generated_bundle(folder: Path, num_users: int, num_items: int, length: int, config: ModelConfig) -> None:
    """Writes a bundle that `ur4rec serve` and `ur4rec recommend --all-users` take."""
    histories = _generate_histories(num_users, num_items, length)
    with write_artifact(folder, PRODUCER, BundleConfig()) as writer:
        _write_tables(writer.folder, histories, num_items)
        model = _generate_model(num_users, num_items, config)
        ModelScorer(model, histories)  # replays the memories
        torch.save(model.state_dict(), writer.folder / FINAL_MODEL)
        write_model_config(writer.folder, model, dataset_digest="")
        model.save_memories(writer.folder / MEMORIES)
        writer.details.update(dataset="generated", dataset_digest="", training_cutoff_s=length * SECONDS_BETWEEN)


def _generate_histories(num_users: int, num_items: int, length: int) -> Histories:
    items = generate_sequences(num_users, num_items, length, seed=0)
    offsets = np.concatenate([[0], np.arange(num_users + 1, dtype=np.int64) * length])
    return Histories(offsets, items.ravel(), np.tile(np.arange(length, dtype=np.int64) * SECONDS_BETWEEN, num_users))


def _generate_model(num_users: int, num_items: int, config: ModelConfig) -> UR4RecV2MoE:
    torch.manual_seed(0)
    model = UR4RecV2MoE(num_items, num_users, config)
    model.retriever.encoder.text.item_text = torch.randn(num_items + 1, config.text_components).half()
    assert model.cooccurrence is not None
    shape = (1, num_items + 1, config.cooccurrence_neighbors)
    neighbors = torch.randint(1, num_items + 1, shape, dtype=torch.int32)
    model.cooccurrence.fill(NeighborTables(neighbors, torch.rand(shape)))
    return model


def _write_tables(folder: Path, histories: Histories, num_items: int) -> None:
    user_ids = [f"u{number}" for number in range(1, histories.num_users + 1)]
    item_ids = [f"i{number}" for number in range(1, num_items + 1)]
    for name, ids in ((USER_MAP, user_ids), (ITEM_MAP, item_ids)):
        (folder / name).write_text(json.dumps(dict(zip(ids, range(1, len(ids) + 1), strict=True))))
    pd.DataFrame({ITEM_ID: item_ids, TITLE: [f"Title of {item}" for item in item_ids]}).to_parquet(folder / ITEMS)
    np.savez(
        folder / HISTORIES,
        offsets=histories.offsets,
        items=histories.items,
        timestamps=histories.timestamps,
        training_lengths=histories.lengths,
    )
    recent, total = count_popularity(histories, num_items, BundleConfig().recent_quantile)
    np.savez(folder / POPULARITY, recent=recent, total=total)
