"""From a data frame to recommendations, in one call."""

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ur4rec.config import load_config
from ur4rec.config_section import ConfigError
from ur4rec.data.errors import DataError
from ur4rec.data.sequences import load_sequences
from ur4rec.evaluation.results import load_results
from ur4rec.local import FittedModel, fit, load, train_all
from ur4rec.storage.artifacts import ArtifactError
from ur4rec.storage.locks import FolderInUseError, lock_folder

NUM_USERS, NUM_SONGS, LENGTH = 20, 15, 9
SMALL = {"bootstrap_samples": 100, "epochs_per_stage": 1, "patience": 1}


def make_plays(**columns: Any) -> pd.DataFrame:
    """Every user walks through the songs in order, from a place of their own; `alice` is the first."""
    rows = [
        ("alice" if not user else f"user-{user}", f"song-{(user + step) % NUM_SONGS}", 1_700_000_000 + 60 * step)
        for user in range(NUM_USERS)
        for step in range(LENGTH)
    ]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).assign(**columns)


def make_songs() -> pd.DataFrame:
    ids = [f"song-{number}" for number in range(NUM_SONGS)]
    return pd.DataFrame({"item_id": ids, "title": [f"Number {song}" for song in ids], "genres": "jazz|rock"})


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[FittedModel, Path]:
    """A model and its folder."""
    folder = tmp_path_factory.mktemp("local") / "songs"
    return fit(make_plays(), make_songs(), "toy", SMALL, folder, "cpu"), folder


def test_a_fitted_model_recommends_to_users_histories_and_strangers(kept: tuple[FittedModel, Path]) -> None:
    model, _ = kept
    table = model.recommend(["alice", "nobody"], k=4)
    assert table["user_id"].tolist() == ["alice"] * 4 + ["nobody"] * 4
    assert table["rank"].tolist() == [1, 2, 3, 4] * 2
    assert table["source"].tolist() == ["user"] * 4 + ["fallback"] * 4
    seen = {f"song-{step}" for step in range(LENGTH)}
    assert not set(table["item_id"][:4]) & seen  # all that alice did, what was held out included
    assert (table["title"] == "Number " + table["item_id"]).all()
    [source] = model.recommend(histories=[["song-1", "song-2"]])["source"].unique()
    assert source == "history"


def test_a_fitted_model_knows_how_good_it_was(kept: tuple[FittedModel, Path]) -> None:
    model, folder = kept
    assert model.results == load_results(folder / "results.json")
    assert model.results.dataset.name == "interactions"
    assert model.results.dataset.num_users == NUM_USERS
    assert next(iter(model.results.test)) == "UR4RecV2MoE"


def test_the_folder_holds_what_the_commands_leave(kept: tuple[FittedModel, Path]) -> None:
    _, folder = kept
    assert {"sequences", "texts", "text_embeddings", "stages", "report.html", "final_model.pt", "bundle"} <= {
        path.name for path in folder.iterdir()
    }
    genres = load_sequences(folder / "sequences").items["genres"]
    assert set(genres) == {"jazz|rock"}


def test_training_tells_nothing_of_texts_that_are_given(
    kept: tuple[FittedModel, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_given: object, **_named: object) -> None:
        raise ArtifactError("stopped before the first stage")

    _, folder = kept
    monkeypatch.setattr("ur4rec.local.run_stage", stop)
    with pytest.raises(ArtifactError, match="stopped"):
        train_all(folder / "sequences", folder / "text_embeddings", tmp_path / "out", load_config("auto"), "cpu")
    told = capsys.readouterr().out
    assert "train: settings from the data\n  max_seq_len " in told
    assert "snapshot_base" not in told


def test_a_saved_model_says_the_same(kept: tuple[FittedModel, Path], tmp_path: Path) -> None:
    model, _ = kept
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    asked = ["alice", "user-3", None], [None, ["song-1", "song-9"], ["song-2"]]
    pd.testing.assert_frame_equal(loaded.recommend(*asked), model.recommend(*asked))
    model.save(tmp_path / "model")  # again, over itself
    (tmp_path / "model/memories.pt").unlink()
    with pytest.raises(ArtifactError, match=r"model"):
        load(tmp_path / "model")


def test_a_model_is_not_saved_over_something_else(kept: tuple[FittedModel, Path], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError):
        kept[0].save(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_without_a_folder_nothing_stays_behind_but_what_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    numbers = make_plays()
    numbers["user_id"] = numbers.groupby("user_id", sort=False).ngroup()
    numbers["item_id"] = numbers["item_id"].astype("category")
    numbers["timestamp"] = pd.to_datetime(numbers["timestamp"], unit="s", utc=True)
    notes: Any = [object()] * len(numbers)
    numbers["note"] = notes  # is not read
    config = load_config("toy", SMALL | {"system": "UR4RecMoEMemory", "dataset_name": "numbers"})
    model = fit(numbers, config=config, settings={"memory_dim": 4}, device="cpu")
    assert model.results.config["memory_dim"] == 4
    assert model.results.dataset.name == "numbers"
    [home] = (tmp_path / "temporary").iterdir()
    assert model.recommend([0], k=3)["user_id"].tolist() == ["0"] * 3
    model.save(tmp_path / "model")
    expected = model.recommend([1, 2])
    del model
    gc.collect()
    assert not home.exists()
    pd.testing.assert_frame_equal(load(tmp_path / "model").recommend([1, 2]), expected)


def test_columns_of_a_frame_may_have_names_of_the_field(tmp_path: Path) -> None:
    plays = make_plays().rename(columns={"user_id": "userId", "item_id": "song", "timestamp": "played"})
    config = load_config("toy", SMALL | {"columns": {"timestamp": "played"}})
    plays["note"] = pd.Series([1, "a"] * (len(plays) // 2), dtype=object)
    model = fit(plays, config=config, device="cpu", folder=tmp_path / "fit")
    assert model.recommend(["alice"], k=3)["user_id"].tolist() == ["alice"] * 3


@pytest.mark.parametrize(
    ("plays", "message"),
    [
        (make_plays().drop(columns="item_id"), "interactions, first line: no column 'item_id' among 'user_id', 'time"),
        (make_plays(timestamp="now"), "interactions, row 1, column 'timestamp': expected seconds .*, got 'now'"),
        (make_plays(timestamp=17_361), "interactions, column 'timestamp': values such as 17361 have two readings"),
        (make_plays(user_id=np.nan), "interactions, row 1, column 'user_id': expected an id"),
        (make_plays(user_id=[1, *["a"] * 179]), "interactions, column 'user_id': expected values of one type"),
        (make_plays().iloc[:0], "interactions: no rows"),
        (
            make_plays()[["user_id", "item_id", "timestamp", "item_id"]],
            "interactions: column 'item_id' occurs more than once",
        ),
        (make_plays().iloc[:2], "interactions: no train interaction is left of 2 rows"),
    ],
)
def test_a_frame_that_cannot_be_used_is_refused(plays: pd.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=f"^{message}"):
        fit(plays, config="toy")


def test_an_item_frame_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^items, first line: no column 'title' among 'item_id', 'genres'"):
        fit(make_plays(), make_songs().drop(columns="title"), config="toy", folder=tmp_path)
    twice = pd.concat([make_songs(), make_songs().assign(title="another")])
    with pytest.raises(DataError, match=r"^items, row 16, column 'item_id': expected what an earlier row says"):
        fit(make_plays(), twice, config="toy", folder=tmp_path)


def test_settings_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'seed'"):
        fit(make_plays(), config="toy", settings={"sed": 1}, folder=tmp_path / "none")
    with pytest.raises(ConfigError, match="expected a YAML file or one of the shipped auto, toy"):
        fit(make_plays(), config="tiny", folder=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    with lock_folder(tmp_path), pytest.raises(FolderInUseError, match="another run is using it"):
        fit(make_plays(), config="toy", folder=tmp_path)
