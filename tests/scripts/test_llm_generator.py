"""The script of the texts does what `ur4rec text generate` does, on sequences and on old pickled files."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from ur4rec.cli import app as ur4rec
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.scripts.llm_generator import app

USERS, ITEMS = range(4), range(6)
FILES = ("user_preferences.json", "item_descriptions.json", "user_snapshots.parquet")
runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    rows = [(f"u{user}", f"i{(user + step) % 6}", step) for user in USERS for step in range(5)]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(tmp_path / "plays.csv", index=False)
    preprocess_sequences(tmp_path / "plays.csv", tmp_path / "data/sequences", DataConfig())
    return tmp_path / "data/sequences"


def run(*options: str | Path) -> str:
    result = runner.invoke(app, [str(option) for option in options])
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.stdout


@pytest.mark.parametrize("old_names", [True, False])
def test_the_texts_are_those_of_the_command(sequences: Path, tmp_path: Path, old_names: bool) -> None:
    more = ["--set", "snapshot_base=2", "--provider", "TEMPLATE"]
    old, new = tmp_path / "old", tmp_path / "new"
    names = ("--data_dir", sequences.parent, "--output_dir", old) if old_names else (sequences, "-o", old)
    run(*names, *more)
    command = ["text", "generate", str(sequences), "-o", str(new), *more]
    assert runner.invoke(ur4rec, command).exit_code == 0
    for name in FILES:
        assert (old / name).read_bytes() == (new / name).read_bytes()


def test_old_pickled_sequences_are_imported(tmp_path: Path) -> None:
    (tmp_path / "plays").mkdir()
    parts = {"train": [1, 2, 3], "val": [4], "test": [5]}
    for name, items in parts.items():
        np.save(tmp_path / f"plays/{name}_sequences.npy", {7: items}, allow_pickle=True)  # type: ignore[arg-type]
    printed = run("--data_dir", tmp_path / "plays", "--output_dir", tmp_path / "texts")
    assert "old pickled sequences, read without running what they bring along: 1 users, 5 items" in printed
    assert list(json.loads((tmp_path / "texts/item_descriptions.json").read_text())) == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--data_dir: missing; sequences"),
        (["--data_dir", "."], "holds no sequences"),
        (["nowhere"], "Directory 'nowhere' does not exist"),
        (["--data_dir", "data", "--set", "text_provider=sometimes"], "text_provider: Input should be 'template'"),
    ],
)
def test_errors_are_one_line(
    sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
