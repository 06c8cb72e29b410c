"""Where the interactions and the item table are: named files, or a folder that holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from ur4rec.data.errors import DataError
from ur4rec.data.tables import CSV, PARQUET
from ur4rec.storage.artifacts import MANIFEST, read_artifact, sha256_file
from ur4rec.storage.inputs import is_cloud, list_some, list_versions

INTERACTIONS, ITEM_TABLE = "interactions", "items"
"""Names of the files in a folder, without their ending."""
RAW_FILES = {"u.data": "ml-100k", "ratings.dat": "ml-1m"}


def find_inputs(interactions: Path, items: Path | None = None) -> dict[str, Path]:
    """Files by role, `interactions` and, if there is one, `items`.

    Args:
        interactions: A file, or a folder; one with a manifest is verified.
        items: Item table, instead of the one in the folder.

    Raises:
        DataError: A file is missing, or a folder holds one in both formats.
        ArtifactError: A file of a folder with a manifest is altered.
    """
    found = {INTERACTIONS: interactions}
    if interactions.is_dir():
        if (interactions / MANIFEST).is_file():
            read_artifact(interactions)
        found = {role: file for role in (INTERACTIONS, ITEM_TABLE) if (file := _find_file(interactions, role))}
        if INTERACTIONS not in found:
            raise DataError(f"{interactions}: {_explain_folder(interactions)}")
    if items:
        found[ITEM_TABLE] = Path(items)
    for file in found.values():
        if not file.is_file():
            raise DataError(f"{file}: not found; expected a .csv or .parquet file")
    return found


def _find_file(folder: Path, role: str) -> Path | None:
    files = [folder / f"{role}{suffix}" for suffix in (CSV, PARQUET) if (folder / f"{role}{suffix}").is_file()]
    if len(files) > 1:
        raise DataError(f"{folder}: holds both {files[0].name} and {files[1].name}; name the file to read")
    return files[0] if files else None


def _explain_folder(folder: Path) -> str:
    for name, dataset in RAW_FILES.items():
        if (folder / name).is_file():
            return f"original files of {dataset}; convert them: ur4rec data fetch {dataset} --from {folder}"
    there = sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir())
    told = f"no file {INTERACTIONS}{CSV} or {INTERACTIONS}{PARQUET} in this folder, which holds {list_some(there)}"
    return f"{told}; name the file to read, or give it this name" if there else told


def digest_data(interactions: str, items: str = "") -> str:
    """Of the contents of files, of the names and generations of objects.

    Raises:
        DataError: A file is missing.
        GcsError: An object is missing, or cloud storage cannot be read.
    """
    return digest_versions(_list_data_versions(interactions, items))


def _list_data_versions(interactions: str, items: str) -> Iterator[str]:
    """Interactions, and the item table: the named one, else the one beside them."""
    if is_cloud(interactions):
        yield from list_versions(interactions)
        yield from list_file_versions(items) if items else ()
        return
    from ur4rec.data.input_files import find_inputs  # brings Arrow along, which takes a while to import

    is_local = items and not is_cloud(items)
    for file in find_inputs(Path(interactions), Path(items) if is_local else None).values():
        yield sha256_file(file)
    yield from list_versions(items) if is_cloud(items) else ()


def list_file_versions(location: str) -> list[str]:
    """sha256 of a file; names and generations of objects.

    Raises:
        GcsError: An object is missing, or cloud storage cannot be read.
    """
    return list_versions(location) if is_cloud(location) else [sha256_file(Path(location))]


def digest_versions(versions: Iterable[str]) -> str:
    """sha256 over all of them."""
    return hashlib.sha256("\n".join(versions).encode()).hexdigest()
