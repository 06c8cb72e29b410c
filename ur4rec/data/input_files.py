"""Finds the interactions and the item table: named files, or those of a folder, here or in cloud storage."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ur4rec.data.errors import DataError
from ur4rec.data.formats.parts import list_parts
from ur4rec.storage.artifacts import MANIFEST, read_artifact
from ur4rec.storage.inputs import digest_inputs, list_some, local_copy, pinned_copy
from ur4rec.storage.stores import is_cloud

INTERACTIONS, ITEM_TABLE = "interactions", "items"
"""Names of the files in a folder, without their ending."""
ENDINGS = re.compile(r"(\.[a-z]\w*)?(\.(gz|zst|bz2|xz))?$", re.IGNORECASE)
"""Of a name: that of the format, and that of a compression."""
ANY_ENDING = r"(\.\w+)+"
PACKED = r"(\.\w+)?"
PAIRS = (
    (rf"interactions{ANY_ENDING}|interactions", rf"items{ANY_ENDING}|items"),
    (rf"ratings\.csv{PACKED}", rf"movies\.csv{PACKED}"),
    (rf"ratings\.dat{PACKED}", rf"movies\.dat{PACKED}"),
    (rf"u\.data{PACKED}", rf"u\.item{PACKED}"),
    (rf".+\.inter{PACKED}", rf".+\.item{PACKED}"),
    (rf"behaviors\.tsv{PACKED}", rf"news\.tsv{PACKED}"),
    (rf"(?!meta_).+\.jsonl{PACKED}", rf"meta_.+\.jsonl{PACKED}"),
)
"""Names of interactions and of their item table in a folder. Those of the first pair go before all others."""
PART = re.compile(r"part-.*|.*-\d{5}-of-\d{5}.*")
KEY = re.compile(r"[^=]+=.*")
DOCUMENT = re.compile(r"(readme|license|copying|changelog).*|.*\.(md|pdf|html?|crc|py)", re.IGNORECASE)


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
    """Return the files by role, `interactions` and, if there is one, `items`; a folder of parts is one of them.

    Interactions are a file or a folder that holds it, which is verified where it has a manifest. Items are a file, else
    the one in that folder.

    Raises:
        DataError: A file is missing, or a folder holds several that can be meant.
        ArtifactError: A file of a folder with a manifest is altered.
    """
    found = {INTERACTIONS: interactions}
    if interactions.is_dir():
        if (interactions / MANIFEST).is_file():
            read_artifact(interactions)
        found = _find_pair(interactions) or _find_parts(interactions)
    if items:
        found[ITEM_TABLE] = Path(items)
    for file in found.values():
        if not file.exists():
            raise DataError(f"{file}: not found; expected a file of interactions or items")
    return found


def name_data(interactions: Path | str) -> str:
    """Return what data are called: as their folder is, or as their file is where that is not `interactions`.

    >>> name_data("gs://bucket/plays.csv.gz"), name_data("songs/interactions.csv"), name_data("new/ml-1.5/")
    ('plays', 'songs', 'ml-1.5')
    """
    place = Path(interactions) if is_cloud(interactions) else Path(interactions).absolute()
    name = place.name if place.is_dir() else ENDINGS.sub("", place.name)
    return place.parent.name if name in ("", INTERACTIONS) else name


def list_files(inputs: Mapping[str, Path]) -> dict[str, Path]:
    """Return each file by its role, and each part of a folder by role and name."""
    files: dict[str, Path] = {}
    for role, place in inputs.items():
        parts = list_parts(place) if place.is_dir() else []
        files |= {f"{role}/{part.relative_to(place).as_posix()}": part for part in parts} or {role: place}
    return files


def _find_pair(folder: Path) -> dict[str, Path]:
    """Return interactions and items by their names; nothing where no file has such a name."""
    names = sorted(path.name for path in folder.iterdir())
    found = []
    for pair in PAIRS:
        rows, tables = (_choose(folder, [name for name in names if re.fullmatch(part, name)]) for part in pair)
        if rows:
            found.append({INTERACTIONS: folder / rows} | ({ITEM_TABLE: folder / tables} if tables else {}))
            if pair == PAIRS[0]:
                break
    _choose(folder, [pair[INTERACTIONS].name for pair in found])
    return found[0] if found else {}


def _choose(folder: Path, names: Sequence[str]) -> str | None:
    if len(names) > 1:
        raise DataError(f"{folder}: holds both {names[0]} and {names[1]}; name the file to read")
    return names[0] if names else None


def _find_parts(folder: Path) -> dict[str, Path]:
    """Return a folder as the interactions, where names say that what is in it are parts of one table."""
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "_")))
    files = [path.name for path in entries if path.is_file() and not DOCUMENT.fullmatch(path.name)]
    if any(KEY.fullmatch(path.name) for path in entries if path.is_dir()) or any(map(PART.fullmatch, files)):
        return {INTERACTIONS: folder}
    if len(files) > 1 and len({name.partition(".")[2] for name in files}) == 1:
        return {INTERACTIONS: folder}
    there = [f"{path.name}/" if path.is_dir() else path.name for path in entries]
    told = f"no file {INTERACTIONS}.csv or {INTERACTIONS}.parquet in this folder, which holds {list_some(there)}"
    raise DataError(f"{folder}: {f'{told}; name the file to read, or give it this name' if there else told}")


def digest_data(interactions: str, items: str = "") -> str:
    """Return a digest of the interactions and of the item table, the named one or else the one beside them.

    It is taken of the contents of files, and of the names and versions of objects.

    Raises:
        DataError: A file is missing.
        StoreError: An object is missing, or cloud storage cannot be read.
    """
    if is_cloud(interactions):
        return digest_inputs(interactions, *filter(None, [items]))
    is_local = items and not is_cloud(items)
    files = list_files(find_inputs(Path(interactions), Path(items) if is_local else None)).values()
    return digest_inputs(*files, *filter(is_cloud, [items]))
