"""MLflow's database in a file: made by one process at a time, whole or not at all, and followed where it is moved."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from ur4rec.storage.temporaries import scratch_folder

LONGEST_WAIT_S = 600
"""Another process that makes the database or brings its tables up to date takes seconds."""
FILE_SCHEME = "file:"
TAG_FOLDER = "ur4rec.folder"
"""Tag of an experiment: the folder that its database was in when the locations in it were right."""
FILES_OF_VERSION = """
SELECT v.storage_location FROM model_versions v
LEFT JOIN registered_model_aliases a ON a.name = v.name AND a.version = v.version AND a.workspace = v.workspace
WHERE v.name = :name AND v.workspace = 'default' AND v.status = 'READY' AND (a.alias = :wanted OR v.version = :wanted)
GROUP BY v.version
"""
PLACES_OF_FILES = (
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Table and column of every location of files that were written; an experiment's is where new ones will be."""


@contextmanager
def hold_database(database: Path) -> Iterator[None]:
    """Wait until no other process opens the database; MLflow's own opening may make or change tables.

    The lock's file is gone afterwards: who waited finds a database that is settled. In a folder that cannot be
    written nobody makes anything, so nothing is locked.

    Raises:
        Timeout: Another process has held it for ten minutes.
    """
    if not os.access(database.parent, os.W_OK):
        yield
        return
    file = database.with_name(f".{database.name}.lock")
    with FileLock(file, timeout=LONGEST_WAIT_S):
        yield
        file.unlink(missing_ok=True)


def make_database(database: Path) -> None:
    """Make an empty database where there is none, beside its place first, so that a kill leaves none.

    To be called while the database is held.
    """
    import mlflow

    if database.is_file() and database.stat().st_size:
        return
    with scratch_folder(database.name, database.parent) as scratch:
        made = scratch / database.name
        mlflow.MlflowClient(f"sqlite:///{made}")
        made.replace(database)


def find_files(database: Path, name: str, wanted: str) -> Path | None:
    """Return the folder of a version's files by a look into the database; None where MLflow has to answer, or refuse.

    MLflow takes two seconds to load, which is most of what a command would take that asks for one user.

    Args:
        database: File of a local registry.
        name: Name of the registered model.
        wanted: Number or alias of the version.
    """
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            moved = any(_is_elsewhere(folder, database) for folder in _recorded_folders(connection))
            found = connection.execute(FILES_OF_VERSION, {"name": name, "wanted": wanted}).fetchall()
    except sqlite3.Error:  # another release's tables, or no database
        return None
    places = [find_local(location) for (location,) in found]
    return places[0] if len(places) == 1 and places[0] and places[0].is_dir() and not moved else None


def _recorded_folders(connection: sqlite3.Connection) -> list[Path]:
    recorded = connection.execute("SELECT DISTINCT value FROM experiment_tags WHERE key = ?", (TAG_FOLDER,))
    return [Path(folder) for (folder,) in recorded.fetchall()]


def _is_elsewhere(folder: Path, database: Path) -> bool:
    return folder != database.parent and not (folder.exists() and folder.samefile(database.parent))


def follow_database(database: Path) -> None:
    """Make the locations in a database that was moved or copied with its folder those below the new folder.

    MLflow stores absolute locations. Those outside of the old folder stay as they are, and so does the location of
    files that are only there. To be called while the database is held; one that cannot be written is left alone.
    """
    if not os.access(database, os.W_OK):
        return
    with closing(sqlite3.connect(database)) as connection, connection:
        for folder in _recorded_folders(connection):
            if _is_elsewhere(folder, database):
                _move_locations(connection, folder, database.parent)
                print(f"{database}: was made in {folder}; its files are now looked for beside it", file=sys.stderr)


def _move_locations(connection: sqlite3.Connection, old: Path, new: Path) -> None:
    connection.create_function("moved", 1, lambda location: _move(location, old, new))
    connection.create_function("moved_with_files", 1, lambda location: _move_with_files(location, old, new))
    connection.execute("UPDATE experiments SET artifact_location = moved(artifact_location)")
    for table, column in PLACES_OF_FILES:
        connection.execute(f"UPDATE {table} SET {column} = moved_with_files({column})")  # noqa: S608  # names of ours
    where = "WHERE key = ? AND value = ?"
    connection.execute(f"UPDATE experiment_tags SET value = ? {where}", (str(new), TAG_FOLDER, str(old)))  # noqa: S608


def _move(location: str | None, old: Path, new: Path) -> str | None:
    path = find_local(location)
    if location is None or path is None or not path.is_relative_to(old):
        return location
    there = new / path.relative_to(old)
    return there.as_uri() if location.startswith(FILE_SCHEME) else str(there)


def _move_with_files(location: str | None, old: Path, new: Path) -> str | None:
    moved = _move(location, old, new)
    before, after = find_local(location), find_local(moved)
    only_there = before is not None and after is not None and before.exists() and not after.exists()
    return location if only_there else moved


def find_local(location: str | None) -> Path | None:
    """Return the path that a location of MLflow's means; None where it is no file's, or is no location."""
    if not location:
        return None
    if location.startswith(FILE_SCHEME):
        return Path(unquote(urlsplit(location).path))
    return Path(location) if location.startswith("/") else None
