"""Finds the interactions and the item table: named files, or those of a folder, here or in cloud storage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ur4rec.data.errors import DataError
from ur4rec.storage.artifacts import MANIFEST, read_artifact
from ur4rec.storage.inputs import digest_inputs, list_some, local_copy, pinned_copy
from ur4rec.storage.stores import is_cloud

CSV, PARQUET = ".csv", ".parquet"
INTERACTIONS, ITEM_TABLE = "interactions", "items"
"""Names of the files in a folder, without their ending."""
RAW_FILES = {"u.data": "ml-100k", "ratings.dat": "ml-1m"}


@contextmanager
def open_inputs(interactions: Path | str, items: Path | str | None, data_digest: str = "") -> Iterator[dict[str, Path]]:
    """Open the files by role, as `find_inputs` gives them; copies of what is in cloud storage are gone after the block.

    Raises:
        ChangedInputError: The data are no longer those that `data_digest` was taken of.
    """

    def take_digest() -> str:
        return digest_data(str(interactions), str(items or ""))

    with local_copy(items or "") as table, pinned_copy(interactions, data_digest, take_digest) as rows:
        yield find_inputs(rows, table if items else None)


def find_inputs(interactions: Path, items: Path | None = None) -> dict[str, Path]:
    """Return the files by role, `interactions` and, if there is one, `items`.

    Interactions are a file or a folder that holds it, which is verified where it has a manifest. Items are a file, else
    the one in that folder.

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
            raise DataError(f"{file}: not found; expected a file of interactions or items")
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
    """Return a digest of the interactions and of the item table, the named one or else the one beside them.

    It is taken of the contents of files, and of the names and generations of objects.

    Raises:
        DataError: A file is missing.
        StoreError: An object is missing, or cloud storage cannot be read.
    """
    if is_cloud(interactions):
        return digest_inputs(interactions, *filter(None, [items]))
    is_local = items and not is_cloud(items)
    files = find_inputs(Path(interactions), Path(items) if is_local else None).values()
    return digest_inputs(*files, *filter(is_cloud, [items]))
