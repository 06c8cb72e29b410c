"""Data whose next item is known, and real models that know it for chosen items only.

Every user walks along a ring of items, so the item after the last one is always the next on the ring. A model here is
a whole `UR4RecV2MoE` whose score is its co-occurrence table alone, and the table is written by hand: item → next item.
For the others the items after the target on the ring are written instead, so many that the target is not in the top 10.
"""

from __future__ import annotations

import csv
from collections.abc import Collection
from itertools import product
from pathlib import Path
from typing import Literal

import torch

from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import load_sequences
from ur4rec.models.config import FusionMethod, ModelConfig
from ur4rec.models.cooccurrence import NeighborTables
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.recommender.bundle import write_bundle
from ur4rec.registry.gate.comparison import Contender
from ur4rec.registry.gate.rules import GateRules, load_rules
from ur4rec.storage.artifacts import MANIFEST, Manifest, sha256_file
from ur4rec.training.checkpoints import FINAL_MODEL, write_model_config

SeenItems = Literal["exclude", "include"]
NUM_ITEMS = 40
USERS_PER_ITEM = 10
NUM_DECOYS = 10
CONFIG = ModelConfig(
    sasrec_hidden_dim=4,
    sasrec_num_blocks=1,
    sasrec_item_factors=0,
    retriever_output_dim=4,
    text_components=4,
    max_seq_len=20,
    memory_dim=4,
    max_memory_size=1,
    fusion_method=FusionMethod.WEIGHTED,
    sasrec_weight=0,
    retriever_weight=0,
    cooccurrence_weight=1,
    cooccurrence_age_decay=0.01,
)
# Nothing here may depend on how busy the machine is, or on a margin that somebody finds better.
TOLERANT = {"max_latency_ms": 1e9, "max_latency_ratio": 1e9, "latency_requests": 1}
STATED = {"level": 0.1, "margin_by_users": {0: 0.1}, "slice_margin": 0.1, "slice_level": 0.05}


def make_rules(**overrides: object) -> GateRules:
    return load_rules(overrides=TOLERANT | STATED | overrides)


def history_length(target: int) -> int:
    """Users of the first ten targets have short histories, those of the last ten long ones."""
    return 6 if target <= 10 else 9 if target <= 30 else 14


def write_ring(folder: Path, num_items: int = NUM_ITEMS, prefix: str = "i") -> Path:
    """Sequences of `USERS_PER_ITEM` users for every target item; users differ in when they come."""
    rows: list[tuple[str, str, int]] = []
    for target, user in product(range(1, num_items + 1), range(USERS_PER_ITEM)):
        length = history_length(target)
        for step in range(length + 1):
            item = (target - length + step - 1) % num_items + 1
            rows.append((f"u{target}-{user}", f"{prefix}{item:03}", 1_000_000 + 100_000 * (user % 7) + 60 * step))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "plays.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("user_id", "item_id", "timestamp"), *rows])
    preprocess_sequences(folder / "plays.csv", folder / "sequences", DataConfig(dataset_name="ring", min_seq_len=3))
    return folder / "sequences"


def write_chain_model(
    sequences: Path, folder: Path, known: Collection[int], seen_items: SeenItems = "exclude"
) -> Contender:
    """A bundle whose model predicts the targets numbered `known` and no others; its version is the folder's name."""
    data = load_sequences(sequences)
    torch.manual_seed(0)
    model = UR4RecV2MoE(data.num_items, data.num_users, CONFIG.model_copy(update={"seen_items": seen_items}))
    neighbors = torch.zeros(1, data.num_items + 1, NUM_DECOYS, dtype=torch.int32)
    index = {name: number for number, name in enumerate(data.item_ids)}
    ring = [index[f"i{number:03}"] for number in range(1, data.num_items + 1)]
    for place, target in enumerate(ring):
        following = [target] if place + 1 in known else (ring + ring)[place + 1 :][:NUM_DECOYS]
        neighbors[0, ring[place - 1], : len(following)] = torch.tensor(following)
    assert model.cooccurrence is not None
    model.cooccurrence.fill(NeighborTables(neighbors, (neighbors > 0).float()))
    return write_model(sequences, folder, model)


def write_model(sequences: Path, folder: Path, model: UR4RecV2MoE) -> Contender:
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir(parents=True)
    write_model_config(checkpoint, model, load_sequences(sequences).digest)
    torch.save(model.state_dict(), checkpoint / FINAL_MODEL)
    write_bundle(sequences, checkpoint, folder / "bundle")
    return Contender(folder.name, folder / "bundle")


def rewrite_manifest(bundle: Path, **details: object) -> None:
    """Makes the manifest agree with the files again, and changes details."""
    manifest = Manifest.model_validate_json((bundle / MANIFEST).read_bytes())
    files = {name: sha256_file(bundle / name) for name in manifest.files}
    changed = manifest.model_copy(update={"files": files, "details": manifest.details | details})
    (bundle / MANIFEST).write_text(changed.model_dump_json())
