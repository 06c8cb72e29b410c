"""What `kfp.local` remembers of earlier runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ur4rec.registry.tracking import database_of
from ur4rec.storage.temporaries import scratch_folder

CACHE_FOLDER = ".kfp_cache"
REGISTRATION = "registration"


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
    with scratch_folder("kfp_cache", pipeline_root) as fresh:
        try:
            yield fresh
        finally:
            for entry in fresh.glob("*.json"):
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
