"""Arguments that name an input: a path, or `gs://…` or `s3://…`, which is fetched into the cache and read there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import typer

from ur4rec.registry.mlflow_client import REGISTERED
from ur4rec.storage.stores import is_cloud
from ur4rec.storage.writing import remember_copy


def _parse_as(kind: str, is_there: Callable[[Path], bool]) -> Callable[[str], Path]:
    """Return a parser that gives the path on this machine, and refuses what is not there or cannot be fetched."""

    def parse(text: str) -> Path:
        found = _fetch(text)
        if not is_there(found):
            raise typer.BadParameter(f"{kind} '{text}' does not exist.")
        return found

    parse.__name__ = {"Directory": "folder"}.get(kind, kind.lower())  # what the help shows
    return parse


folder = _parse_as("Directory", Path.is_dir)
file = _parse_as("File", Path.is_file)
path = _parse_as("Path", Path.exists)


def model(text: str) -> str:
    """Return the name of a registered model, or the folder on this machine, which is fetched."""
    return str(_fetch(text)) if is_cloud(text) else text


def path_or_cloud(text: str) -> str:
    """Return a location whose reader tells paths from cloud storage; refuse a path where nothing is."""
    if not is_cloud(text) and not Path(text).exists():
        raise typer.BadParameter(f"Path '{text}' does not exist.")
    return text


@contextmanager
def open_model(text: str, tracking_uri: str | None) -> Iterator[Path]:
    """Open the folder of a model: as it is named, or the bundle of a registered one, there until the block ends.

    Raises:
        RegistryError: MLflow cannot be reached or there is no such model.
    """
    if not text.startswith(REGISTERED):
        yield Path(text)
        return
    from ur4rec.registry.fetch import fetch_bundle

    with fetch_bundle(text, tracking_uri) as bundle:
        yield bundle


def _fetch(text: str) -> Path:
    if not is_cloud(text):
        return Path(text)
    from ur4rec.data.sources import default_cache
    from ur4rec.storage.folders import fetch_into_cache

    try:
        with redirect_stdout(sys.stderr):  # progress is not what the command shows
            copy = fetch_into_cache(text, default_cache())
    except (ValueError, OSError) as error:
        if type(error) is ValueError:
            raise AssertionError(text) from error  # a defect, which the parser would take for a wrong argument
        raise typer.BadParameter(str(error)) from None
    remember_copy(copy, text.rstrip("/"))
    return copy
