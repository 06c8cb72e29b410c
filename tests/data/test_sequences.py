"""The artifact as its readers see it."""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from digests import digest_again
from hypothesis import given
from hypothesis import strategies as st

from ur4rec.data import sequences
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


def put(row: int, column: int, value: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(rows: np.ndarray) -> np.ndarray:
        rows[row, column] = value
        return rows

    return change


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train", lambda rows: rows.astype(np.int32), r"expected int64 \(any, 3\), found int32 \(3, 3\)"),
        ("train", lambda rows: rows[:, :2], r"expected int64 \(any, 3\), found int64 \(3, 2\)"),
        ("train", put(1, 1, 0), "row 1: expected an item from 1 to 4"),
        ("train", put(1, 1, -3), "row 1: expected an item from 1 to 4"),
        ("train", put(2, 1, 5), "row 2: expected an item from 1 to 4"),
        ("train", put(0, 0, 0), "row 0: expected a user from 1 to 2"),
        ("train", put(2, 0, 3), "row 2: expected a user from 1 to 2"),
        ("train", lambda rows: rows[::-1], "row 0: expected the row after it to be of the same user, no earlier"),
        ("train", put(0, 2, 25), "row 0: expected the row after it to be of the same user, no earlier"),
        ("train", lambda rows: rows[[0, 0, 1, 2]], "rows 0 to 3: an interaction occurs twice"),
        ("train", lambda rows: rows[:2], None),
        ("val", lambda rows: rows[[0, 0, 1]], "rows 0 to 2: an interaction occurs twice"),
        ("val", put(1, 0, 1), "row 0: expected one target a user"),
        ("val", put(1, 2, 19), "row 1: expected a target no earlier than what its user did before"),
        ("test", put(0, 2, 29), "row 0: expected a target no earlier than what its user did before"),
    ],
)
def test_rows_that_cannot_be_are_named(folder: Path, name: str, change: Any, message: str | None) -> None:
    path = folder / f"{name}_sequences.npy"
    np.save(path, change(np.load(path)))
    digest_again(folder)
    if message is None:  # a user's targets without what came before
        path, message = folder / "val_sequences.npy", "row 1: expected a user with interactions before the target"
    with pytest.raises(ArtifactError, match=rf"^{path}: {message}.*; make the artifact again$"):
        load_sequences(folder)


def test_swapped_targets_are_noticed_by_their_times(folder: Path) -> None:
    val, test = (folder / f"{name}_sequences.npy" for name in ("val", "test"))
    before = val.read_bytes()
    val.write_bytes(test.read_bytes())
    test.write_bytes(before)
    digest_again(folder)
    with pytest.raises(ArtifactError, match=r"test_sequences\.npy: row 0: expected a target no earlier"):
        load_sequences(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"al": 1, "bo": 1}, "expected each of the numbers 1 to 2 once, one an id"),
        ({"al": 0, "bo": 1}, "expected each of the numbers 1 to 2 once, one an id"),
        ({"al": 1}, "expected 2 ids, found 1"),
        ({"al": 1, "bo": "2"}, "bo: Input should be a valid integer"),
        ({"al": 1, "bo": True}, "bo: Input should be a valid integer"),
        (["al", "bo"], "Input should be an object"),
    ],
)
def test_a_map_that_is_none_is_named(folder: Path, content: object, message: str) -> None:
    (folder / "user_map.json").write_text(json.dumps(content))
    digest_again(folder)
    with pytest.raises(ArtifactError, match=rf"user_map\.json: {message}"):
        load_sequences(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda items: items.drop(columns="title"), "column 'title': missing"),
        (lambda items: items.assign(title=7), "column 'title': expected text, found int64"),
        (lambda items: items.assign(year="1999"), "column 'year': expected whole numbers, found"),
        (lambda items: items.assign(genres=[None, "", "", ""]), "column 'genres': expected text in every row"),
        (lambda items: items[::-1], r"expected the 4 items of item_map\.json in the order of their indices"),
        (lambda items: items.assign(item_index=items.item_index - 1), "row 0: expected the indices to rise from 1"),
    ],
)
def test_an_item_table_that_does_not_fit_is_named(folder: Path, change: Any, message: str) -> None:
    change(pd.read_parquet(folder / "items.parquet", dtype_backend="numpy_nullable")).to_parquet(
        folder / "items.parquet"
    )
    digest_again(folder)
    with pytest.raises(ArtifactError, match=rf"items\.parquet: {message}"):
        load_sequences(folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schema_version", 2, r"schema version 2, this release reads 1"),
        ("files", {}, r"does not name train_sequences\.npy"),
        ("files", [], "not a manifest of schema version 1: .*files"),
        ("details", {"dataset_name": 7}, r"details\.dataset_name: expected str"),
        ("details", {"dataset_name": "toy", "num_users": "2"}, r"details\.num_users: expected int"),
    ],
)
def test_a_manifest_that_does_not_say_what_is_needed_is_named(
    folder: Path, key: str, value: object, message: str
) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {key: value}))
    with pytest.raises(ArtifactError, match=rf"(?s)manifest\.json: {message}"):
        load_sequences(folder)


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


def test_the_examples_hold() -> None:
    outcome = doctest.testmod(sequences)
    assert outcome.attempted > 0
    assert outcome.failed == 0
