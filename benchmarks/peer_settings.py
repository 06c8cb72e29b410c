"""Settings that the peers are trained with: what their authors document or publish, and tuned ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Setting:
    """One way to train a system."""

    name: str
    source: str
    values: dict[str, Any] = field(default_factory=dict)
    """Over the values that all settings of the system share."""


@dataclass(frozen=True)
class Peer:
    """A public implementation of SASRec."""

    name: str
    module: str
    shared: dict[str, Any]
    settings: tuple[Setting, ...]
    quick: dict[str, Any]
    """What makes a run short enough to prove that it runs."""


RECBOLE_DEFAULTS = "RecBole 1.2.1: properties/model/SASRec.yaml and properties/overall.yaml"
RECBOLE_SEARCH = (
    "RecBole's published search for SASRec on MovieLens-1M (benchmark/hyper/sequential/SASRec-ml-1m_seq.md in its "
    "repository: .0003 to .005, best .0005); it has no page for MovieLens-100K"
)
RECTOOLS_DEFAULTS = "RecTools 0.19.0: SASRecModel, the defaults, with which its public benchmark runs"

RECBOLE = Peer(
    name="recbole",
    module="benchmarks.peer_recbole",
    shared={
        "loss_type": "CE",
        "epochs": 300,
        "stopping_step": 10,
        "train_batch_size": 2048,
        "hidden_size": 64,
        "inner_size": 256,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dropout_prob": 0.5,
        "attn_dropout_prob": 0.5,
        "learning_rate": 0.001,
        "MAX_ITEM_LIST_LENGTH": 50,
    },
    settings=(
        Setting("published", RECBOLE_SEARCH, {"learning_rate": 0.0005}),
        Setting("defaults", RECBOLE_DEFAULTS),
        Setting("high rate", "tuned: a rate of the published search", {"learning_rate": 0.003}),
        Setting(
            "high rate, low dropout",
            "tuned: the dropout of our shipped configuration",
            {"learning_rate": 0.003, "hidden_dropout_prob": 0.3, "attn_dropout_prob": 0.3},
        ),
        Setting("high rate, short", "tuned: length", {"learning_rate": 0.003, "MAX_ITEM_LIST_LENGTH": 30}),
    ),
    quick={"epochs": 2, "MAX_ITEM_LIST_LENGTH": 10},
)
RECTOOLS = Peer(
    name="rectools",
    module="benchmarks.peer_rectools",
    shared={
        "loss": "softmax",
        "epochs": 100,
        "batch_size": 128,
        "n_factors": 256,
        "n_blocks": 2,
        "n_heads": 4,
        "dropout_rate": 0.2,
        "session_max_len": 100,
        "lr": 0.001,
    },
    settings=(
        Setting("defaults", RECTOOLS_DEFAULTS),
        Setting("narrow", "tuned: width", {"n_factors": 64, "n_heads": 2}),
        Setting("narrow, high rate", "tuned: width and rate", {"n_factors": 64, "n_heads": 2, "lr": 0.003}),
        Setting(
            "narrow, short",
            "tuned: width, length, rate and dropout of our shipped configuration",
            {"n_factors": 64, "n_heads": 2, "lr": 0.004, "dropout_rate": 0.3, "session_max_len": 50},
        ),
        Setting(
            "negatives",
            "gBCE, 256 negatives, t = 0.75, as recommended by Petrov and Macdonald 2023 (gSASRec, RecSys)",
            {"n_factors": 64, "n_heads": 2, "loss": "gBCE", "n_negatives": 256, "gbce_t": 0.75},
        ),
    ),
    quick={"epochs": 2},
)
PEERS = (RECBOLE, RECTOOLS)
