"""Sizes, settings, variants and search space of the toy experiments."""

from pathlib import Path
from typing import Any

import yaml

NUM_USERS, NUM_ITEMS, LENGTH, TEXT_DIM = 24, 15, 12, 5
TOY = {
    "sasrec_hidden_dim": 8,
    "retriever_output_dim": 8,
    "memory_dim": 4,
    "max_seq_len": 8,
    "epochs_per_stage": 1,
    "patience": 1,
    "bootstrap_samples": 100,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "full": {"description": "All of it"},
    "no_memory": {"description": "Without memory", "settings": {"max_memory_size": 0}},
    "first_stage": {"description": "SASRec", "part": "sasrec", "stage": "pretrain_sasrec"},
}
SPACE = {"interaction_threshold": {"low": 2, "high": 6}, "decay_factor": {"low": 0.9, "high": 0.99, "step": 0.01}}
STAGE = "pretrain_retriever"


def write_yaml(path: Path, values: object) -> Path:
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path
