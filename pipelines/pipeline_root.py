"""What lies below the pipeline root besides artifacts: the cache, and what runs that were killed leave."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from ur4rec.storage.artifacts import write_text_atomic
from ur4rec.storage.temporaries import remove, scratch_folder

CACHE_FOLDER = ".kfp_cache"
RUNS_AGAIN = "cache: "
"""How a line begins that says why a task is not taken from the cache."""
MARK = ".running.json"
"""There while a run is at work, and after it was killed: the names of the folders that it found."""

RUN = ".run.json"
"""There as long: a digest of the run's arguments, and its id."""


@contextmanager
def open_cache(pipeline_root: Path, reuse: bool) -> Iterator[Path]:
    """Open the folder of the cache; without reuse an empty one, whose results replace the earlier ones at the end."""
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


@contextmanager
def mark_run(pipeline_root: Path) -> Iterator[None]:
    """Remove what killed runs have left of tasks that did not end; to be called by who holds the root's lock.

    What finished tasks made stays, for the cache names it, and so does all that a run leaves that ended by itself.
    """
    pipeline_root.mkdir(parents=True, exist_ok=True)
    mark = pipeline_root / MARK
    if (known := _read(mark)) is not None:
        entries = _read_entries(pipeline_root / CACHE_FOLDER)
        for folder in _list_folders(pipeline_root):
            if folder.name not in known:
                _remove_unnamed(folder, folder.name, entries)
    write_text_atomic(mark, json.dumps([folder.name for folder in _list_folders(pipeline_root)]))
    yield
    mark.unlink()


@contextmanager
def identify_run(pipeline_root: Path, arguments: Mapping[str, Any]) -> Iterator[str]:
    """Yield an id of a run; one that was interrupted keeps its own when it is started again with the same arguments."""
    file, digest = pipeline_root / RUN, hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()
    known = _read(file) or []
    run_id = known[1] if known[:1] == [digest] and known[1:] else uuid4().hex
    write_text_atomic(file, json.dumps([digest, run_id]))
    yield run_id
    file.unlink()


def _read(mark: Path) -> list[str] | None:
    """Return the texts that a killed run has noted; None where no run was killed, or what it noted is damaged."""
    try:
        return TypeAdapter(list[str]).validate_json(mark.read_bytes())
    except (OSError, ValidationError):
        return None


def _read_entries(cache: Path) -> str:
    """Return the text of all entries; what is no entry is left to the cache, which drops it."""
    return "".join(entry.read_text("utf-8", "replace") for entry in cache.glob("*.json") if entry.is_file())


def _list_folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))


def _remove_unnamed(folder: Path, name: str, entries: str) -> None:
    """Remove a folder of a run, of a task or of a loop, unless entries of the cache name an artifact in it."""
    if re.search(rf'{re.escape(name)}/[^/"]+"', entries):
        return
    if f"{name}/" not in entries:
        shutil.rmtree(folder, ignore_errors=True)
    for part in _list_folders(folder) if folder.is_dir() else ():
        _remove_unnamed(part, f"{name}/{part.name}", entries)
