"""New items among all items, as a toy run."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from toy_plays import make_embeddings, write_plays
from typer.testing import CliRunner

from benchmarks import new_items
from benchmarks.cold_items import draw_folds, write_fold
from benchmarks.datasets_inputs import prepare_dataset
from benchmarks.new_items import adopt_item_texts, split_targets
from ur4rec.columns import ITEM, USER
from ur4rec.config import load_config
from ur4rec.data.sequences import load_sequences
from ur4rec.text.embeddings import load_embeddings

TOY = load_config("auto", {"epochs_per_stage": 1, "text_components": 8, "sasrec_item_factors": 8})
app = typer.Typer()
app.command()(new_items.main)


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    return prepare_dataset(write_plays(tmp_path / "plays.csv"), (), tmp_path / "data", TOY, reads_text=False).sequences


@pytest.fixture
def embeddings(sequences: Path, tmp_path: Path) -> Path:
    return make_embeddings(sequences, tmp_path / "embeddings")


def test_a_fold_has_no_trace_of_its_items_and_no_user_text(sequences: Path, embeddings: Path, tmp_path: Path) -> None:
    whole = load_sequences(sequences)
    # every item that the first user trains on, so that this user has no history left
    cold = np.unique(whole.train[whole.train[:, USER] == 1, ITEM])
    write_fold(sequences, tmp_path / "fold", cold, TOY)
    adopt_item_texts(embeddings, tmp_path / "fold", tmp_path / "texts")
    fold = load_sequences(tmp_path / "fold")
    assert not np.isin(np.concatenate([fold.train, fold.val])[:, ITEM], cold).any()
    assert 1 not in np.concatenate([fold.train, fold.val, fold.test])[:, USER]
    text = load_embeddings(tmp_path / "texts", fold)
    assert len(text.sentences) == len(text.snapshots) == 0
    assert np.array_equal(text.item_descriptions, load_embeddings(embeddings, whole).item_descriptions)
    targets = split_targets(whole, fold, cold)
    assert np.isin(targets["new"][:, ITEM], cold).all()
    assert not np.isin(targets["others"][:, ITEM], cold).any()
    users = np.concatenate([each[:, USER] for each in targets.values()])
    assert sorted(users) == sorted(set(whole.test[:, USER]) & set(fold.train[:, USER]))


def test_the_table_of_all_folds_and_what_is_kept(sequences: Path, embeddings: Path, tmp_path: Path) -> None:
    arguments = [str(sequences), str(embeddings), "-o", str(tmp_path / "out"), "--folds", "2", "--jobs", "1"]
    for name in ("epochs_per_stage=1", "text_components=8", "sasrec_item_factors=8", "new_item_share=2"):
        arguments += ["--set", name]
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0, first.output
    assert first.output.count("FAILED") == 0
    rows = json.loads((tmp_path / "out" / "new_items.json").read_text())["rows"]
    assert [(row["targets"], row["system"]) for row in rows] == [
        (group, system)
        for group in ("new", "others")
        for system in ("ours", "without the offset", "text cosine alone", "shuffled text")
    ]
    data = load_sequences(sequences)
    folds = draw_folds(data.num_items, 2)
    assert sum(len(cold) for cold in folds) == data.num_items
    counts = {row["targets"]: row["count"] for row in rows}
    assert counts["new"] + counts["others"] <= 2 * len(data.test)
    new = {row["system"]: row["ndcg@10"] for row in rows if row["targets"] == "new"}
    assert new["ours"] >= new["without the offset"]

    again = CliRunner().invoke(app, arguments)
    assert "fold 0, none text" in first.output
    assert "fold" not in again.output
    assert again.output.splitlines()[-5:] == first.output.splitlines()[-5:]
