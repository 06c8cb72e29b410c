"""Where what `kfp.local` remembers of earlier runs is kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ur4rec.storage.temporaries import scratch_folder

CACHE_FOLDER = ".kfp_cache"
RUNS_AGAIN = "cache: "
"""How a line begins that says why a task is not taken from the cache."""


@contextmanager
def open_cache(pipeline_root: Path, reuse: bool) -> Iterator[Path]:
    """The folder where the cache looks for results and puts them.

    Args:
        pipeline_root: Where the artifacts are.
        reuse: Whether results of earlier runs are found; otherwise new ones replace them at the end.
    """
    cache = pipeline_root / CACHE_FOLDER
    if not cache.is_dir():
        remove(cache)
    cache.mkdir(parents=True, exist_ok=True)
    if reuse:
        yield cache
        return
    with scratch_folder("kfp_cache", pipeline_root) as fresh:
        try:
            yield fresh
        finally:
            for entry in fresh.glob("*.json"):
                remove(cache / entry.name)
                entry.replace(cache / entry.name)


def remove(path: Path) -> None:
    """Removes whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
