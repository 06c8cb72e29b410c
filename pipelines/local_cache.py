"""What `kfp.local` remembers of earlier runs, and a lock on it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ur4rec.registry.tracking import database_of

CACHE_FOLDER = ".kfp_cache"
LOCK = ".lock"
REGISTRATION = "registration"


class FolderInUseError(ValueError):
    """Another run works in the same folder."""


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keeps other runs out of a folder, which is made if need be; the lock ends with this process at the latest.

    Raises:
        FolderInUseError: Another run holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout:
        raise FolderInUseError(
            f"{folder}: another run is using it ({LOCK} is locked); wait for its end or choose another folder"
        ) from None


@contextmanager
def open_cache(pipeline_root: Path, reuse: bool) -> Iterator[Path]:
    """The folder where `kfp.local` looks for results and puts them.

    Args:
        pipeline_root: Where the artifacts are.
        reuse: Whether results of earlier runs are found; otherwise new ones replace them at the end.
    """
    cache = pipeline_root / CACHE_FOLDER
    cache.mkdir(parents=True, exist_ok=True)
    if reuse:
        yield cache
        return
    with tempfile.TemporaryDirectory(prefix=".kfp_cache-", dir=pipeline_root) as fresh:
        try:
            yield Path(fresh)
        finally:
            for entry in Path(fresh).glob("*.json"):
                entry.replace(cache / entry.name)


def forget_lost_registrations(pipeline_root: Path) -> None:
    """Drops cached registrations whose sqlite database is gone, so that the model is registered again."""
    for entry in (pipeline_root / CACHE_FOLDER).glob("*.json"):
        outputs = json.loads(entry.read_bytes())
        if REGISTRATION in outputs and _is_lost(Path(outputs[REGISTRATION]["uri"])):
            entry.unlink()


def _is_lost(registration: Path) -> bool:
    if not registration.is_file():
        return True
    database = database_of(json.loads(registration.read_bytes())["tracking_uri"])
    return database is not None and not database.is_file()
