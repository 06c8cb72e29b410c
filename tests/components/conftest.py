"""Every component's function, called in the order of the pipeline on a tiny data set."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kfp import dsl

from components.encode_text import encode_text
from components.end_to_end import end_to_end
from components.evaluate import evaluate
from components.gate_model import gate_model
from components.generate_text import generate_text
from components.joint_finetune import joint_finetune
from components.preprocess_sequences import preprocess_sequences
from components.pretrain_retriever import pretrain_retriever
from components.pretrain_sasrec import pretrain_sasrec
from components.promote_model import promote_model
from components.register_model import register_model

NUM_USERS, NUM_ITEMS, LENGTH = 24, 15, 12
# As they arrive in a task: kfp turns every number of a dictionary into a float.
TRAINING = {
    "sasrec_hidden_dim": 8.0,
    "sasrec_num_blocks": 1.0,
    "retriever_output_dim": 8.0,
    "memory_dim": 8.0,
    "max_seq_len": 8.0,
    "batch_size": 32.0,
    "epochs_per_stage": 1.0,
    "patience": 1.0,
}

Artifacts = dict[str, dsl.Artifact]


@pytest.fixture(scope="session")
def interactions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`LENGTH` interactions of every user, each user one item further on."""
    rows = [
        (f"u{user}", f"i{(user + step) % NUM_ITEMS}", 1_000_000 + 100 * user + step)
        for user in range(NUM_USERS)
        for step in range(LENGTH)
    ]
    path = tmp_path_factory.mktemp("raw") / "plays.csv"
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def artifacts(interactions: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """`<task>.<output>` → artifact, of all tasks."""
    root = tmp_path_factory.mktemp("tasks")
    made: Artifacts = {}

    def call(component: Any, outputs: dict[str, type[dsl.Artifact]], **arguments: Any) -> None:
        new = {
            name: kind(name=name, uri=str(root / component.name / name), metadata={})
            for name, kind in {**outputs, "metrics": dsl.Metrics}.items()
        }
        component.python_func(code_digest="digest", **arguments, **new)
        made.update({f"{component.name}.{name}": artifact for name, artifact in new.items()})

    _prepare(call, made, interactions)
    _train(call, made)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow about itself
        _evaluate_and_register(call, made, f"sqlite:///{root / 'mlflow.db'}")
    return made


def _prepare(call: Callable[..., None], made: Artifacts, interactions: Path) -> None:
    call(
        preprocess_sequences,
        {"sequences": dsl.Dataset},
        interactions=str(interactions),
        items="",
        data_digest="",
        config={"dataset_name": "plays", "min_seq_len": 3.0},
    )
    sequences = made["preprocess-sequences.sequences"]
    call(
        generate_text,
        {"texts": dsl.Artifact},
        item_text="",
        user_text="",
        text_digest="",
        config={"snapshot_base": 4.0},
        asked=["{}"],
        sequences=sequences,
    )
    call(
        encode_text,
        {"embeddings": dsl.Dataset},
        config={},
        device="cpu",
        sequences=sequences,
        texts=made["generate-text.texts"],
    )


def _train(call: Callable[..., None], made: Artifacts) -> None:
    outputs = {"checkpoint": dsl.Model, "memories": dsl.Artifact}
    shared = {"config": TRAINING, "device": "cpu", "state": "", "sequences": made["preprocess-sequences.sequences"]}
    call(pretrain_sasrec, outputs, **shared, warm_start="", tracking_uri="")
    before = "pretrain-sasrec"
    for stage in (pretrain_retriever, joint_finetune, end_to_end):
        call(
            stage,
            outputs,
            **shared,
            embeddings=made["encode-text.embeddings"],
            previous_checkpoint=made[f"{before}.checkpoint"],
            previous_memories=made[f"{before}.memories"],
        )
        before = stage.name


def _evaluate_and_register(call: Callable[..., None], made: Artifacts, tracking_uri: str) -> None:
    call(
        evaluate,
        {"results": dsl.Artifact, "report": dsl.HTML},
        config={"bootstrap_samples": 100.0},
        sequences=made["preprocess-sequences.sequences"],
        texts=made["generate-text.texts"],
        embeddings=made["encode-text.embeddings"],
        sasrec=made["pretrain-sasrec.checkpoint"],
        retriever=made["pretrain-retriever.checkpoint"],
        joint=made["joint-finetune.checkpoint"],
        checkpoint=made["end-to-end.checkpoint"],
    )
    call(
        register_model,
        {"registration": dsl.Artifact, "card": dsl.Markdown},
        config={"registered_model_name": "toy"},
        tracking_uri=tracking_uri,
        sequences=made["preprocess-sequences.sequences"],
        checkpoint=made["end-to-end.checkpoint"],
        memories=made["end-to-end.memories"],
        results=made["evaluate.results"],
        report=made["evaluate.report"],
    )
    call(
        gate_model,
        {"decision": dsl.Artifact, "summary": dsl.Markdown},
        config={"registered_model_name": "overruled by the registration"},
        rules={"min_users": 10.0, "floor_times_popularity": 0.0, "max_latency_ms": 1e9, "margin_by_users": {"0": 0.1}},
        tracking_uri=tracking_uri,
        sequences=made["preprocess-sequences.sequences"],
        registration=made["register-model.registration"],
    )
    call(
        promote_model,
        {"promotion": dsl.Artifact, "summary": dsl.Markdown},
        config={"registered_model_name": "overruled by the registration", "promote_automatically": True},
        tracking_uri=tracking_uri,
        registration=made["register-model.registration"],
        decision=made["gate-model.decision"],
    )
