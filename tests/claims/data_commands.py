"""`ur4rec data preprocess` in this process, and what it has made."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from typer.testing import CliRunner

from ur4rec.cli import app
from ur4rec.data.sequences import load_sequences
from ur4rec.storage.artifacts import Manifest, read_artifact

RUNNER = CliRunner(env={"COLUMNS": "1000", "TERM": "dumb", "NO_COLOR": "1"})


@dataclass(frozen=True)
class Outcome:
    """How the command has ended."""

    code: int
    shown: str
    error: str
    folder: Path

    @property
    def manifest(self) -> Manifest:
        return read_artifact(self.folder)

    @property
    def rows(self) -> pd.DataFrame:
        """`user_id, item_id, timestamp` as they are used; a user's rows in the order of time."""
        data = load_sequences(self.folder)
        histories = data.histories("full")
        return pd.DataFrame(
            {
                "user_id": [data.user_ids[user] for user in histories.users],
                "item_id": [data.item_ids[item] for item in histories.items],
                "timestamp": histories.timestamps,
            }
        )

    @property
    def titles(self) -> dict[str, str]:
        items = load_sequences(self.folder).items
        return dict(zip(items.item_id, items.title, strict=True))

    @property
    def years(self) -> dict[str, str]:
        """Item → its year; empty where it has none."""
        items = load_sequences(self.folder).items
        return dict(zip(items.item_id, items.year.astype("Int64").astype(str).fillna(""), strict=True))


def run(*arguments: object) -> Outcome:
    """Run a command; anything but an exit code ends the test."""
    result = RUNNER.invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr, Path())


def preprocess(path: Path, folder: Path, *options: object, items: Path | None = None) -> Outcome:
    """Run `ur4rec data preprocess`; the sequences go to `folder`."""
    table = ("--items", items) if items else ()
    outcome = run("data", "preprocess", path, "-o", folder, *table, *options)
    return Outcome(outcome.code, outcome.shown, outcome.error, folder)


def accept(path: Path, folder: Path, *options: object, items: Path | None = None) -> Outcome:
    """Preprocess a file that must be taken."""
    outcome = preprocess(path, folder, *options, items=items)
    assert outcome.code == 0, outcome.error or shlex.join(map(str, options))
    return outcome


def refuse(path: Path, folder: Path, *options: object, items: Path | None = None) -> str:
    """Preprocess a file that must be refused, in one line that names it; return the line."""
    outcome = preprocess(path, folder, *options, items=items)
    assert outcome.code == 2, outcome.shown
    assert len(outcome.error.splitlines()) == 1
    assert path.name in outcome.error or (items and items.name in outcome.error)
    assert not folder.exists()
    return outcome.error
