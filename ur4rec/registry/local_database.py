"""MLflow's database in a file: one process at a time makes it, and it is there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from ur4rec.storage.temporaries import scratch_folder

LONGEST_WAIT_S = 600
"""For another process that makes the database or brings its tables up to date, which takes seconds."""


@contextmanager
def hold_database(database: Path) -> Iterator[None]:
    """Waits until no other process opens the database; MLflow's own opening may make or change tables.

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
    """Makes an empty database where there is none, beside its place first, so that a kill leaves none.

    To be called while the database is held.
    """
    import mlflow

    if database.is_file() and database.stat().st_size:
        return
    with scratch_folder(database.name, database.parent) as scratch:
        made = scratch / database.name
        mlflow.MlflowClient(f"sqlite:///{made}")
        made.replace(database)
