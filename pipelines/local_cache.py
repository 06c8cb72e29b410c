"""What `kfp.local` remembers of earlier runs, and a lock on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

CACHE_FOLDER = ".kfp_cache"
LOCK = ".lock"
REGISTRATION = "registration"
SQLITE = "sqlite:///"


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


def forget_lost_registrations(pipeline_root: Path) -> None:
    """Drops cached registrations whose sqlite database is gone, so that the model is registered again."""
    for entry in (pipeline_root / CACHE_FOLDER).glob("*.json"):
        outputs = json.loads(entry.read_bytes())
        if REGISTRATION in outputs and _is_lost(Path(outputs[REGISTRATION]["uri"])):
            entry.unlink()


def _is_lost(registration: Path) -> bool:
    if not registration.is_file():
        return True
    uri = json.loads(registration.read_bytes())["tracking_uri"]
    return uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file()
