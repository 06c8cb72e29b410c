"""Arguments that name an input: a path, or `gs://…`, which is fetched into the cache and read there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import typer

from ur4rec.registry.mlflow_client import REGISTERED
from ur4rec.storage.inputs import CLOUD_SCHEME
from ur4rec.storage.origins import remember_copy


def folder(text: str) -> Path:
    """The folder on this machine.

    Raises:
        BadParameter: There is none, or it cannot be fetched.
    """
    path = _fetch(text)
    if not path.is_dir():
        raise typer.BadParameter(f"Directory '{text}' does not exist.")
    return path


def file(text: str) -> Path:
    """The file on this machine.

    Raises:
        BadParameter: There is none, or it cannot be fetched.
    """
    path = _fetch(text)
    if not path.is_file():
        raise typer.BadParameter(f"File '{text}' does not exist.")
    return path


def path(text: str) -> Path:
    """The file or folder on this machine.

    Raises:
        BadParameter: There is none, or it cannot be fetched.
    """
    found = _fetch(text)
    if not found.exists():
        raise typer.BadParameter(f"Path '{text}' does not exist.")
    return found


def model(text: str) -> str:
    """A registered model, or the folder on this machine.

    Raises:
        BadParameter: It cannot be fetched.
    """
    return str(_fetch(text)) if text.startswith(CLOUD_SCHEME) else text


@contextmanager
def open_model(text: str, tracking_uri: str | None) -> Iterator[Path]:
    """The folder of a model: as it is named, or the bundle of a registered one, there until the block ends.

    Raises:
        RegistryError: MLflow cannot be reached or there is no such model.
    """
    if not text.startswith(REGISTERED):
        yield Path(text)
        return
    from ur4rec.registry.fetch import fetch_bundle

    with fetch_bundle(text, tracking_uri) as bundle:
        yield bundle


def path_or_cloud(text: str) -> str:
    """A location whose reader tells paths from cloud storage.

    Raises:
        BadParameter: It is a path, and nothing is there.
    """
    if not text.startswith(CLOUD_SCHEME) and not Path(text).exists():
        raise typer.BadParameter(f"Path '{text}' does not exist.")
    return text


def _fetch(text: str) -> Path:
    if not text.startswith(CLOUD_SCHEME):
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
