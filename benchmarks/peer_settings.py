"""Settings that the peers are trained with: what their authors document or publish, and tuned ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Setting:
    """One way to train a system."""

    name: str
    source: str
    values: dict[str, Any] = field(default_factory=dict)
    """Over the values that all settings of the system share."""
    mean_lengths: tuple[float, float] = (0, math.inf)
    """The data that it is for, by their users' mean number of training interactions."""


@dataclass(frozen=True)
class Peer:
    """A public implementation of a sequential recommender."""

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

ESASREC_SOURCE = (
    "Tikhonovich et al. 2025 (eSASRec, RecSys; by RecTools' authors): the settings that they selected for "
    "leave-one-out {} in their public benchmark"
)
SPARSE, LONG = (0, 30), (30, math.inf)
SAMPLED = {"loss": "sampled_softmax", "n_negatives": 256}
RECTOOLS_SHARED = {
    "loss": "softmax",
    "epochs": 200,
    "patience": 10,
    "skips_padding": True,
    "batch_size": 128,
    "lr": 0.001,
    "n_factors": 64,
    "n_heads": 1,
}
AMAZON = {"n_blocks": 1, "dropout_rate": 0.2, "session_max_len": 50}
FILMS = {"n_blocks": 2, "dropout_rate": 0.1, "session_max_len": 200}


PUBLISHED = (
    Setting("sparse, softmax", f"{ESASREC_SOURCE.format('Amazon data')}, softmax", AMAZON, SPARSE),
    Setting("sparse", ESASREC_SOURCE.format("Amazon data"), AMAZON | SAMPLED, SPARSE),
    Setting("sparse, high dropout", "tuned: dropout", AMAZON | {"dropout_rate": 0.5}, SPARSE),
    Setting("sparse, high rate", "tuned: rate and dropout", AMAZON | {"dropout_rate": 0.5, "lr": 0.003}, SPARSE),
    Setting("sparse, wide", "tuned: width and dropout", AMAZON | {"dropout_rate": 0.5, "n_factors": 256}, SPARSE),
    Setting("long, softmax", f"{ESASREC_SOURCE.format('MovieLens-1M')}, softmax", FILMS, LONG),
    Setting("long", ESASREC_SOURCE.format("MovieLens-1M"), FILMS | SAMPLED, LONG),
)
SASREC = Peer(
    name="rectools-sasrec",
    module="benchmarks.peer_rectools",
    shared=RECTOOLS_SHARED,
    settings=PUBLISHED,
    quick={"epochs": 2},
)
ESASREC = Peer(
    name="rectools-esasrec",
    module="benchmarks.peer_rectools",
    shared=RECTOOLS_SHARED | {"layers": "LiGR", "use_key_padding_mask": True},
    settings=PUBLISHED,
    quick={"epochs": 2},
)
HSTU = Peer(
    name="rectools-hstu",
    module="benchmarks.peer_rectools",
    shared=RECTOOLS_SHARED
    | {
        "model": "HSTU",
        "n_factors": 50,
        "n_blocks": 2,
        "dropout_rate": 0.2,
        "relative_time_attention": False,
        "lightning_module_kwargs": {"logits_t": 0.05},
        "loss": "sampled_softmax",
        "n_negatives": 128,
    },
    settings=(
        Setting(
            "sparse", "RecTools 0.19.0's tutorial, shorter; times may be positions", {"session_max_len": 50}, SPARSE
        ),
        Setting("long", "RecTools 0.19.0's tutorial: HSTU; times may be positions", {"session_max_len": 200}, LONG),
        Setting(
            "long, large",
            "RecTools 0.19.0's tutorial: HSTU-large; times may be positions",
            {"session_max_len": 200, "n_blocks": 8, "n_heads": 2},
            LONG,
        ),
    ),
    quick={"epochs": 2},
)
RECBOLE_ANY = Peer(
    name="recbole-sasrec",
    module="benchmarks.peer_recbole",
    shared=RECBOLE.shared,
    settings=(
        Setting("sparse, short", "tuned: length, for time", {"MAX_ITEM_LIST_LENGTH": 20}, SPARSE),
        Setting("sparse", RECBOLE_DEFAULTS, {}, SPARSE),
        Setting("sparse, high rate", "tuned: rate", {"learning_rate": 0.003}, SPARSE),
        Setting("long", RECBOLE_SEARCH, {"learning_rate": 0.0005, "MAX_ITEM_LIST_LENGTH": 200}, LONG),
    ),
    quick=RECBOLE.quick,
)
DATASET_PEERS = (SASREC, ESASREC, HSTU, RECBOLE_ANY)
"""Those of the benchmark of data sets."""
