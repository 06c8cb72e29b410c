"""The artifact as its readers see it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import Histories, Sequences, load_sequences
from ur4rec.storage.artifacts import ArtifactError, write_artifact

INTERACTIONS = """user_id,item_id,timestamp
bo,x,40
al,y,10
bo,y,20
al,x,30
bo,z,30
al,z,20
al,w,40
"""
"""Chronologically: al y z x w, bo y z x. Users al 1, bo 2; items w 1, x 2, y 3, z 4."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "interactions.csv").write_text(INTERACTIONS)
    preprocess_sequences(tmp_path / "interactions.csv", tmp_path / "sequences", DataConfig(dataset_name="toy"))
    return tmp_path / "sequences"


@pytest.fixture
def toy(folder: Path) -> Sequences:
    return load_sequences(folder)


def test_arrays_hold_user_item_and_time(toy: Sequences) -> None:
    assert toy.train.tolist() == [[1, 3, 10], [1, 4, 20], [2, 3, 20]]
    assert toy.val.tolist() == [[1, 2, 30], [2, 4, 30]]
    assert toy.test.tolist() == [[1, 1, 40], [2, 2, 40]]


def test_arrays_are_read_only_memory_maps_of_integers(toy: Sequences) -> None:
    for array in (toy.train, toy.val, toy.test):
        assert isinstance(array, np.memmap)
        assert array.dtype == np.int64
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


def test_ids_and_counts(toy: Sequences) -> None:
    assert toy.name == "toy"
    assert toy.user_ids == ("", "al", "bo")
    assert toy.item_ids == ("", "w", "x", "y", "z")
    assert (toy.num_users, toy.num_items, toy.num_interactions) == (2, 4, 7)


@pytest.mark.parametrize(
    ("horizon", "offsets", "items", "timestamps"),
    [
        ("validation", [0, 0, 2, 3], [3, 4, 3], [10, 20, 20]),
        ("test", [0, 0, 3, 5], [3, 4, 2, 3, 4], [10, 20, 30, 20, 30]),
        ("full", [0, 0, 4, 7], [3, 4, 2, 1, 3, 4, 2], [10, 20, 30, 40, 20, 30, 40]),
    ],
)
def test_histories_end_before_the_target(
    toy: Sequences, horizon: str, offsets: list[int], items: list[int], timestamps: list[int]
) -> None:
    histories = toy.histories(horizon)  # type: ignore[arg-type]
    assert histories.offsets.tolist() == offsets
    assert histories.items.tolist() == items
    assert histories.timestamps.tolist() == timestamps
    assert histories.lengths.tolist() == np.diff(offsets).tolist()
    assert histories.num_users == 2
    assert {array.dtype for array in vars(histories).values()} == {np.dtype(np.int64)}


def test_users_without_a_row_have_an_empty_history(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("user_id,item_id,timestamp\n1,a,1\n1,b,2\n1,c,9\n2,a,3\n2,b,4\n2,c,5\n")
    preprocess_sequences(tmp_path / "i.csv", tmp_path / "s", DataConfig(split="time", time_split_quantile=0.9))
    sequences = load_sequences(tmp_path / "s")
    assert sequences.test[:, 0].tolist() == [1]
    assert sequences.histories("full").lengths.tolist() == [0, 3, 3]


def test_items_without_metadata_go_by_their_id(toy: Sequences) -> None:
    assert toy.items.index.tolist() == [1, 2, 3, 4]
    assert toy.items.columns.tolist() == ["item_id", "title", "year", "genres", "description"]
    assert toy.items["title"].tolist() == ["w", "x", "y", "z"]
    assert toy.items["genres"].tolist() == [""] * 4
    assert toy.items["year"].isna().all()


def test_digest_is_that_of_the_content(folder: Path, tmp_path: Path) -> None:
    preprocess_sequences(tmp_path / "interactions.csv", tmp_path / "again", DataConfig(dataset_name="other"))
    assert load_sequences(tmp_path / "again").digest == load_sequences(folder).digest


@pytest.mark.parametrize("name", ["train_sequences.npy", "item_map.json", "items.parquet"])
def test_an_altered_file_is_refused(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ArtifactError, match=rf"{name}: sha256 differs"):
        load_sequences(folder)


def test_another_artifact_is_refused(tmp_path: Path) -> None:
    with write_artifact(tmp_path / "texts", "generate_text", DataConfig()):
        pass
    with pytest.raises(ArtifactError, match="written by 'generate_text'; expected a folder of 'preprocess_sequences'"):
        load_sequences(tmp_path / "texts")


@given(
    st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=5),
    st.lists(st.integers(0, 4), max_size=6),
    st.none() | st.integers(0, 4),
)
def test_rows_of_users_equal_slices(items: list[list[int]], picks: list[int], last: int | None) -> None:
    offsets = np.cumsum([0, 0, *map(len, items)])
    histories = Histories(offsets, np.concatenate(items).astype(np.int64), np.arange(offsets[-1]))
    users = np.array([1 + pick % len(items) for pick in picks], dtype=np.int64)
    rows, positions = histories.find_rows(users, last)
    found = [histories.items[positions[rows == row]].tolist() for row in range(len(users))]
    kept = [
        items[user - 1] if last is None else items[user - 1][max(0, len(items[user - 1]) - last) :] for user in users
    ]
    assert found == kept
    assert np.all(np.diff(rows) >= 0)
