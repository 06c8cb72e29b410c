"""Old pickled sequences become a normal sequences folder, in every layout that is accepted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ur4rec.cli import app
from ur4rec.data.errors import DataError
from ur4rec.data.legacy import LegacyConfig, import_legacy
from ur4rec.data.legacy_pickle import ForbiddenPickleError
from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.data.summary import exclusion_table
from ur4rec.storage.artifacts import ArtifactError, sha256_file

TRAIN, VAL, TEST = {7: [10, 20], 8: [20, 30, 10]}, {7: 30, 8: 20}, {7: 10, 8: 40}
"""User 7: 10 20 | 30 | 10, user 8: 20 30 10 | 20 | 40; items 10 20 30 40 get the indices 1 2 3 4, users 7 8 get 1 2."""
ROWS = ([[1, 1, 0], [1, 2, 1], [2, 2, 0], [2, 3, 1], [2, 1, 2]], [[1, 3, 2], [2, 2, 3]], [[1, 1, 3], [2, 4, 4]])


def write_old(folder: Path, train: Any, val: Any, test: Any) -> Path:
    folder.mkdir()
    for name, content in (("train", train), ("val", val), ("test", test)):
        np.save(folder / f"{name}_sequences.npy", content, allow_pickle=True)
    return folder


def convert(tmp_path: Path, train: Any = TRAIN, val: Any = VAL, test: Any = TEST) -> Sequences:
    import_legacy(write_old(tmp_path / "old", train, val, test), tmp_path / "new", LegacyConfig())
    return load_sequences(tmp_path / "new")


def list_rows(sequences: Sequences) -> tuple[Any, ...]:
    return sequences.train.tolist(), sequences.val.tolist(), sequences.test.tolist()


def with_times(lists: dict[int, list[int]]) -> dict[int, Any]:
    """Item i of a list at 100 + 5 i seconds."""
    return {user: [(item, 100 + 5 * place) for place, item in enumerate(items)] for user, items in lists.items()}


FULL_VAL, FULL_TEST = {7: [10, 20, 30], 8: [20, 30, 10, 20]}, {7: [10, 20, 30, 10], 8: [20, 30, 10, 20, 40]}


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        (TRAIN, VAL, TEST),
        (TRAIN, {7: [30], 8: [20]}, {7: [10], 8: [40]}),
        (TRAIN, {7: np.int64(30), 8: np.array(20)}, {7: np.array([10]), 8: (40,)}),
        ({user: np.array(items) for user, items in TRAIN.items()}, FULL_VAL, FULL_TEST),
        (TRAIN, {user: np.array(items) for user, items in FULL_VAL.items()}, TEST),
        (TRAIN, VAL, {7: [10, 20, 10], 8: [20, 30, 10, 40]}),  # training and target, without the validation item
        (TRAIN, {7: [10, 20, 30], 8: 20}, {7: 10, 8: [20, 30, 10, 20, 40]}),
        ({np.int64(user): tuple(items) for user, items in TRAIN.items()}, VAL, TEST),
        ({user: np.array(items, dtype=np.float32) for user, items in TRAIN.items()}, VAL, TEST),
        (np.array(TRAIN, dtype=object), np.array([VAL], dtype=object), TEST),
    ],
)
def test_every_layout_without_times_gives_the_same_rows(tmp_path: Path, train: Any, val: Any, test: Any) -> None:
    sequences = convert(tmp_path, train, val, test)
    assert list_rows(sequences) == ROWS
    assert sequences.user_ids == ("", "7", "8")
    assert sequences.item_ids == ("", "10", "20", "30", "40")


TIMED_TRAIN, TIMED_VAL, TIMED_TEST = with_times(TRAIN), with_times(FULL_VAL), with_times(FULL_TEST)


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        (TIMED_TRAIN, TIMED_VAL, TIMED_TEST),
        (TIMED_TRAIN, {7: (30, 110), 8: [20, 115]}, {7: [(10, 115)], 8: [[40, 120.0]]}),
        ({user: np.array(steps) for user, steps in TIMED_TRAIN.items()}, TIMED_VAL, TIMED_TEST),
        (TIMED_TRAIN, {7: np.array([30, 110]), 8: np.array([[20, 115]])}, TIMED_TEST),
        ({7: TIMED_TRAIN[7], 8: np.array(TIMED_TRAIN[8], dtype=np.float64)}, TIMED_VAL, TIMED_TEST),
    ],
)
def test_every_layout_with_times_gives_the_same_rows(tmp_path: Path, train: Any, val: Any, test: Any) -> None:
    sequences = convert(tmp_path, train, val, test)
    expected = [[[user, item, 100 + 5 * position] for user, item, position in rows] for rows in ROWS]
    assert list_rows(sequences) == tuple(expected)


def test_the_manifest_says_where_the_times_come_from(tmp_path: Path) -> None:
    for name, train, val, test in (("plain", TRAIN, VAL, TEST), ("timed", TIMED_TRAIN, TIMED_VAL, TIMED_TEST)):
        folder = write_old(tmp_path / name, train, val, test)
        manifest = import_legacy(folder, tmp_path / f"{name}_new", LegacyConfig(dataset_name=name))
        assert manifest.details["timestamps"]["are_positions"] is (name == "plain")
        assert manifest.details["dataset_name"] == name
        assert manifest.details["rows"] == {"read": 9, "train": 5, "val": 2, "test": 2}
        assert manifest.inputs["val_sequences.npy"] == sha256_file(folder / "val_sequences.npy")
        assert exclusion_table(manifest) == []


def test_users_without_a_target_keep_their_history_and_empty_ones_are_counted(tmp_path: Path) -> None:
    folder = write_old(tmp_path / "old", {1: [5, 6], 2: [5], 3: []}, {1: [6], 2: [], 3: []}, {1: [7]})
    manifest = import_legacy(folder, tmp_path / "new", LegacyConfig())
    sequences = load_sequences(tmp_path / "new")
    assert sequences.user_ids == ("", "1", "2")
    assert sequences.test.tolist() == [[1, 3, 3]]
    assert exclusion_table(manifest) == [("users left out: without interaction", 1)]


def test_the_item_map_restores_the_original_ids(tmp_path: Path) -> None:
    """Numbers 1 2 3 4 of the old files stand for d c b a; 5 is never used."""
    folder = write_old(tmp_path / "old", {7: [1, 2]}, {7: 3}, {7: 4})
    (folder / "item_map.json").write_text(json.dumps({"d": 1, "c": 2, "b": 3, "a": 4, "e": 5}))
    (tmp_path / "items.csv").write_text("item_id,title\na,Alpha\nd,Delta\n")
    import_legacy(folder, tmp_path / "new", LegacyConfig(), tmp_path / "items.csv")
    sequences = load_sequences(tmp_path / "new")
    assert sequences.item_ids == ("", "a", "b", "c", "d")
    assert sequences.train[:, 1].tolist() == [4, 3]
    assert sequences.items["title"].tolist() == ["Alpha", "b", "c", "Delta"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", r"item_map\.json: not JSON"),
        ("[1]", "expected original item id → whole number"),
        ('{"a": "1"}', "expected original item id → whole number"),
        ('{"a": 10, "b": 10}', "two original ids share a number"),
        ('{"a": 10, "b": 20, "c": 40}', r"item_map\.json: no entry for item '30' of the sequences \(1 such"),
    ],
)
def test_an_item_map_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    folder = write_old(tmp_path / "old", TRAIN, VAL, TEST)
    (folder / "item_map.json").write_text(text)
    with pytest.raises(DataError, match=message):
        import_legacy(folder, tmp_path / "new", LegacyConfig())
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"val": {7: [30, 40]}}, r"val_sequences\.npy, user '7': 2 interactions; expected the held-out one alone"),
        ({"val": {7: [10, 20]}}, r"val_sequences\.npy, user '7': 2 interactions"),
        ({"val": {7: [20, 10, 30]}}, r"val_sequences\.npy, user '7': 3 interactions"),
        ({"test": {7: [10, 20, 30]}}, r"test_sequences\.npy, user '7': 3 interactions"),  # the validation item again
        ({"test": {7: [10, 20, 40, 50]}}, r"test_sequences\.npy, user '7': 4 interactions"),
        ({"val": {9: 30}}, r"train_sequences\.npy, user '9': no training interaction, but a held-out one"),
        ({"val": {7: []}}, r"val_sequences\.npy: holds no interaction"),
        ({"train": {7: [None]}}, r"train_sequences\.npy, user '7': expected an item id.*got None"),
        ({"train": {7: [1.5]}}, r"train_sequences\.npy, user '7': expected an item id.*got 1\.5"),
        ({"train": {7: [True]}}, r"expected an item id.*got True"),
        ({"train": {7: [" "]}}, r"expected an item id.*got ' '"),
        ({"train": {7: [float("nan")]}}, r"expected an item id.*got nan"),
        ({"train": {7: {10, 20}}}, r"train_sequences\.npy, user '7': expected an item id.*got \{10, 20\}"),
        ({"train": {7: [10, (20, 5)]}}, r"user '7': expected an item id.*got \(20, 5\)"),
        ({"train": {7: [(10, 5), 20]}}, r"user '7': expected a pair of item and timestamp, as in the training file"),
        ({"train": {7: [(10, "monday")]}}, "user '7': expected a timestamp in seconds, got 'monday'"),
        ({"train": {7: [(10, float("nan"))]}}, "user '7': expected a timestamp in seconds, got nan"),
        ({"train": {2.5: [10]}}, r"train_sequences\.npy: user 2\.5; expected distinct ids"),
        ({"train": {7: [10], "7": [20]}}, r"train_sequences\.npy: user '7'; expected distinct ids"),
    ],
)
def test_values_that_cannot_be_understood_name_file_and_user(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    contents: dict[str, Any] = {"train": {7: [10, 20]}, "val": {7: 30}, "test": {7: 40}} | change
    with pytest.raises(DataError, match=message):
        convert(tmp_path, **contents)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ((5, 4, 6, 7), "user '7': timestamp 4; expected no time before that of the interaction ahead of it"),
        ((5, 6, 7, 3), "user '7': timestamp 3; expected no time before that of the interaction ahead of it"),
        ((-5, 6, 7, 8), "user '7': timestamp -5; expected no time before 1970"),
        ((5, 6, 7, 9e10), "user '7': timestamp 90000000000; expected no time after"),
        ((8e11, 8e11, 8e11, 8e11), "look like milliseconds"),
    ],
)
def test_impossible_times_are_refused(tmp_path: Path, times: tuple[float, ...], message: str) -> None:
    steps = list(zip((10, 20, 30, 40), times, strict=True))
    with pytest.raises(DataError, match=message):
        convert(tmp_path, {7: steps[:2]}, {7: steps[2]}, {7: steps[3]})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = write_old(tmp_path / "old", TRAIN, VAL, TEST)
    (folder / "val_sequences.npy").unlink()
    with pytest.raises(DataError, match=r"val_sequences\.npy: not found; expected train_sequences\.npy, val_"):
        import_legacy(folder, tmp_path / "new", LegacyConfig())


def test_a_file_is_sent_to_preprocess(tmp_path: Path) -> None:
    (tmp_path / "Beauty.txt").write_text("1 5 6 7\n")
    with pytest.raises(DataError, match=r"Beauty\.txt: a file; .* is read by ur4rec data preprocess .*Beauty\.txt"):
        import_legacy(tmp_path / "Beauty.txt", tmp_path / "out", LegacyConfig())
    result = CliRunner().invoke(app, ["data", "import-legacy", str(tmp_path / "Beauty.txt")])
    assert result.exit_code == 2
    assert "ur4rec data preprocess" in " ".join(result.output.split())


def test_the_old_folder_is_never_written_over(tmp_path: Path) -> None:
    folder = write_old(tmp_path / "old", TRAIN, VAL, TEST)
    with pytest.raises(ArtifactError, match="not an artifact folder; refusing to replace it"):
        import_legacy(folder, folder, LegacyConfig())


class Command:
    def __init__(self, text: str) -> None:
        self._text = text

    def __reduce__(self) -> Any:
        return os.system, (self._text,)


def test_a_malicious_file_is_refused_before_anything_runs(tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    with pytest.raises(ForbiddenPickleError, match=r"test_sequences\.npy: asks for posix\.system"):
        convert(tmp_path, test={7: Command(f"touch {evidence}")})
    assert not evidence.exists()
    assert not (tmp_path / "new").exists()


def test_the_command_writes_the_folder_and_says_what_it_took(tmp_path: Path) -> None:
    folder, output = write_old(tmp_path / "old", TRAIN | {9: []}, VAL, TEST), tmp_path / "new"
    arguments = ["data", "import-legacy", str(folder), "--output", str(output), "--name", "old films"]
    result = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "users left out: without interaction" in result.stdout
    assert "2 users, 4 items, 9 interactions: 5 train, 2 validation, 2 test" in result.stdout
    assert "timestamps: positions in each user's list" in result.stdout
    assert load_sequences(output).name == "old films"


def test_the_folder_gives_the_name_where_none_is_chosen(tmp_path: Path) -> None:
    folder, output = write_old(tmp_path / "old films", TRAIN, VAL, TEST), tmp_path / "new"
    result = CliRunner().invoke(app, ["data", "import-legacy", str(folder), "--output", str(output)])
    assert result.exit_code == 0, result.output
    assert load_sequences(output).name == "old films"


def test_the_command_tells_what_is_out_of_the_ordinary(tmp_path: Path) -> None:
    """Both users come back to their first item at the end, which is half of the targets."""
    folder = write_old(tmp_path / "old", {7: [1, 2], 8: [3, 4]}, {7: 5, 8: 6}, {7: 1, 8: 3})
    arguments = ["data", "import-legacy", str(folder), "--output", str(tmp_path / "new")]
    result = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "25.0% of all interactions" in result.stdout
    assert "0.0% of validation, 100.0% of test" in result.stdout
    assert result.stdout.count("warning: 50.0% of the targets are items that their user had before") == 1
