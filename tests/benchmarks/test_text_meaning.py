"""The comparison of kinds of text, on a toy run."""

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmarks.text_meaning import KINDS, main
from ur4rec.config import load_config
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.experiments.ablation_table import AblationTable

NUM_USERS, NUM_ITEMS, LENGTH = 20, 12, 10
TINY = {
    "sasrec_hidden_dim": 8,
    "retriever_output_dim": 8,
    "memory_dim": 4,
    "max_seq_len": 8,
    "epochs_per_stage": 1,
    "bootstrap_samples": 100,
    "snapshot_base": 4,
}


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text_meaning")
    rows = [(u, (u + step) % NUM_ITEMS, 100 * u + step) for u in range(NUM_USERS) for step in range(LENGTH)]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(folder / "plays.csv", index=False)
    titles = [f"Story {number}" for number in range(NUM_ITEMS)]
    pd.DataFrame({"item_id": range(NUM_ITEMS), "title": titles}).to_csv(folder / "items.csv", index=False)
    config = DataConfig(dataset_name="plays", min_seq_len=3)
    preprocess_sequences(folder / "plays.csv", folder / "sequences", config, items=folder / "items.csv")
    return folder / "sequences"


def read_table(folder: Path) -> AblationTable:
    return AblationTable.model_validate_json((folder / "ablation.json").read_bytes())


@pytest.mark.slow
def test_every_kind_of_text_is_trained_and_compared_by_both_scores(sequences: Path, tmp_path: Path) -> None:
    file = tmp_path / "item_texts.json"
    file.write_text(json.dumps({str(item): f"A tale with the number {item}." for item in range(NUM_ITEMS)}))
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(load_config("toy", TINY).to_dict()))
    main(sequences, file, tmp_path / "out", seeds=1, jobs=1, config=str(config))
    fused, retriever = (read_table(tmp_path / "out" / score) for score in ("fused", "retriever"))
    assert [row.name for row in fused.rows] == [*KINDS, "sasrec"]
    assert [row.name for row in retriever.rows][:4] == [f"{kind}_retriever" for kind in KINDS]
    assert all(row.difference for row in (*fused.rows[1:], *retriever.rows[1:4]))
    digest, few_seeds = fused.notes
    assert digest == f"Digest of the file of item texts: `{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}`"
    assert "fewer of language_model 1, template 1," in few_seeds
    assert len({json.dumps(row.expert_weights) for row in retriever.rows[:4]}) == 4  # four different models
    absent = retriever.rows[3].expert_weights
    assert absent["item_embedding"] == pytest.approx(1)
    assert absent["item_description"] == absent["user_preference"] == 0
