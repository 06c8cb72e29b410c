"""Items that nobody has interacted with go through everything: they are trained by nothing and recommended by text."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ur4rec.data.sequences import load_sequences
from ur4rec.evaluation.results import load_results
from ur4rec.local import FittedModel, fit
from ur4rec.storage.artifacts import read_artifact
from ur4rec.text.artifact import load_texts
from ur4rec.text.embeddings import load_embeddings
from ur4rec.training.checkpoints import load_model

NUM_USERS, LENGTH, PER_GENRE = 20, 6, 12
WORDS = {"jazz": "A calm jazz tune for piano and saxophone", "metal": "A loud metal anthem of guitars and drums"}
NEW = ["new-metal", "new-jazz"]
"""In the order of the item table."""
SMALL = {"bootstrap_samples": 100, "epochs_per_stage": 1, "patience": 1, "snapshot_base": 3, "text_components": 8}
BY_TEXT = {"fusion_method": "weighted", "content_weight": 5.0}
COLD = PER_GENRE * len(WORDS)
"""The new ones have the indices behind it."""


def make_plays() -> pd.DataFrame:
    """Every user keeps to one genre."""
    rng = np.random.default_rng(1)
    rows = [
        (f"{genre}-fan-{user}", f"{genre}-{item}", 1_700_000_000 + 60 * step)
        for user in range(NUM_USERS)
        for genre in [list(WORDS)[user % 2]]
        for step, item in enumerate(rng.permutation(PER_GENRE)[:LENGTH])
    ]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])


def make_songs() -> pd.DataFrame:
    known = [
        (f"{genre}-{item}", genre, f"{words}, number {item}")
        for genre, words in WORDS.items()
        for item in range(PER_GENRE)
    ]
    new = [(name, name.removeprefix("new-"), WORDS[name.removeprefix("new-")]) for name in NEW]
    table = pd.DataFrame([new[0], *known, new[1]], columns=["item_id", "genres", "description"])
    return table.assign(title="Song " + table["item_id"])


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[FittedModel, Path]:
    folder = tmp_path_factory.mktemp("new") / "songs"
    settings = SMALL | BY_TEXT | {"new_items": "include"}
    return fit(make_plays(), make_songs(), "toy", settings, folder, "cpu"), folder


def test_they_stand_behind_all_others_with_texts_and_vectors(kept: tuple[FittedModel, Path]) -> None:
    _, folder = kept
    data = load_sequences(folder / "sequences")
    assert list(data.item_ids[1 + COLD :]) == NEW
    assert not data.training_counts()[1 + COLD :].any()
    assert read_artifact(folder / "sequences").details["items"]["new"] == len(NEW)
    texts = load_texts(folder / "texts", data).items
    assert all("jazz" in text or "metal" in text for text in texts[COLD:])
    assert load_embeddings(folder / "text_embeddings", data).item_descriptions[1 + COLD :].any(axis=1).all()


def test_training_leaves_them_out_and_evaluation_ranks_them(kept: tuple[FittedModel, Path]) -> None:
    _, folder = kept
    model = load_model(folder)
    assert not model.retriever.encoder.get_buffer("is_trained")[1 + COLD :].any()
    assert load_results(folder / "results.json").dataset.num_items == COLD + len(NEW)


def test_they_are_recommended_to_who_has_had_the_like(kept: tuple[FittedModel, Path]) -> None:
    model, _ = kept
    requests = [f"{genre}-fan-{user}" for user, genre in enumerate(WORDS)]
    table = model.recommend(requests, k=COLD)
    assert np.isfinite(table["score"]).all()
    for user, genre in zip(requests, WORDS, strict=True):
        scores = table[table["user_id"] == user].set_index("item_id")["score"]
        other = next(each for each in WORDS if each != genre)
        assert scores[f"new-{genre}"] > scores[f"new-{other}"]
    assert (table["title"] == "Song " + table["item_id"]).all()


def test_they_can_be_named_in_a_request(kept: tuple[FittedModel, Path]) -> None:
    model, _ = kept
    assert list(model.bundle.item_ids[1 + COLD :]) == NEW
    table = model.recommend(histories=[["new-jazz"], ["jazz-1", "new-jazz", "gone"]], k=COLD + len(NEW))
    assert set(table["source"]) == {"history"}
    assert table.attrs["unknown_items"] == {1: 1}
    assert np.isfinite(table["score"]).all()
    assert table.groupby("request")["item_id"].nunique().tolist() == [COLD + 1, COLD]
    assert not (table["item_id"] == "new-jazz").any()
    assert "new-metal" in set(table["item_id"])


def test_a_stranger_gets_them_after_all_that_is_popular(kept: tuple[FittedModel, Path]) -> None:
    model, _ = kept
    table = model.recommend(["nobody"], k=COLD + len(NEW))
    assert table["item_id"].tolist()[-len(NEW) :] == NEW
