"""The folder of texts: its files, written and read in one place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from ur4rec.columns import AS_OF, TEXT, USER_ID
from ur4rec.data.sequences import Sequences
from ur4rec.storage.artifacts import ArtifactError, read_artifact

USER_PREFERENCES = "user_preferences.json"
ITEM_DESCRIPTIONS = "item_descriptions.json"
USER_SNAPSHOTS = "user_snapshots.parquet"
SOURCE = "source"
IMPORTED = "imported"
"""Source of texts that existed before."""
SCHEMA = pa.schema([(USER_ID, pa.string()), (AS_OF, pa.int64()), (TEXT, pa.string()), (SOURCE, pa.string())])
SEQUENCES_DIGEST = "sequences_digest"
"""Detail of the manifest: what the texts were written for."""

LEAK_CHECK = "leak_check"
"""Detail of the manifest: the verdict."""
LEAK = "LEAK"
ROWS_AT_ONCE = 8192


class LeakError(ValueError):
    """Texts that know what they should not; says what to do."""


@dataclass(frozen=True)
class Texts:
    """Every text of a data set.

    Args:
        items: Description of item index i at position i − 1.
        points: User index and `as_of` of every snapshot, sorted.
        snapshots: The text at each point.
        sources: What wrote it.
    """

    items: Sequence[str]
    points: Int[np.ndarray, "P 2"]
    snapshots: Sequence[str]
    sources: Sequence[str]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A text of one user, and what wrote it."""

    user: int
    as_of: int
    text: str
    source: str


def write_items(folder: Path, texts: Iterable[str], sequences: Sequences) -> None:
    """Writes the descriptions as they come, keyed by original ids; none of them is held.

    Args:
        folder: Where the file goes.
        texts: Of every item, in the order of the index.
        sequences: The data set.
    """
    with _JsonFile(folder / ITEM_DESCRIPTIONS) as file:
        for item_id, text in zip(sequences.item_ids[1:], texts, strict=True):
            file.add(item_id, text)


def write_snapshots(folder: Path, snapshots: Iterable[Snapshot], sequences: Sequences) -> None:
    """Writes the texts of users as they come, keyed by original ids; a few thousand are held at most.

    Args:
        folder: Where the two files go: every text, and the newest of each user.
        snapshots: Sorted by user and `as_of`.
        sequences: The data set.
    """
    newest: tuple[str, str] | None = None
    with _JsonFile(folder / USER_PREFERENCES) as file, pq.ParquetWriter(folder / USER_SNAPSHOTS, SCHEMA) as table:
        for group in _batched(snapshots, ROWS_AT_ONCE):
            users = [sequences.user_ids[snapshot.user] for snapshot in group]
            columns = [[getattr(snapshot, name) for snapshot in group] for name in (AS_OF, TEXT, SOURCE)]
            table.write_table(pa.table([users, *columns], schema=SCHEMA))
            for user, snapshot in zip(users, group, strict=True):
                if newest and newest[0] != user:
                    file.add(*newest)
                newest = user, snapshot.text
        if newest:
            file.add(*newest)


class _JsonFile:
    """An object of texts, a line each, written as it grows."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._is_empty = True

    def add(self, key: str, text: str) -> None:
        self._file.write(f"{'{' if self._is_empty else ','}\n {_to_json(key)}: {_to_json(text)}")
        self._is_empty = False

    def __enter__(self) -> _JsonFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.write("{}\n" if self._is_empty else "\n}\n")
        self._file.close()


_to_json = json.JSONEncoder(ensure_ascii=False).encode


def _batched(snapshots: Iterable[Snapshot], size: int) -> Iterator[list[Snapshot]]:
    waiting = iter(snapshots)
    while group := list(islice(waiting, size)):
        yield group


def refuse_leaks(path: Path) -> None:
    """Checks the verdict that was reached when the texts were written.

    Raises:
        LeakError: They leak.
        ArtifactError: The folder is incomplete or altered.
    """
    if read_artifact(path).details.get(LEAK_CHECK) == LEAK:
        raise LeakError(f"{path}: these texts leak and are for looking at only; `ur4rec text check` tells more")


def load_texts(path: Path, sequences: Sequences) -> Texts:
    """Reads a folder of texts, verified.

    Raises:
        ArtifactError: The folder is incomplete or altered, or was written for other sequences.
    """
    path = Path(path)
    manifest = read_artifact(path)
    if manifest.details.get(SEQUENCES_DIGEST) != sequences.digest:
        raise ArtifactError(f"{path}: written for other sequences than {sequences.name!r}; run generate_text again")
    descriptions = json.loads((path / ITEM_DESCRIPTIONS).read_bytes())
    table = pq.read_table(path / USER_SNAPSHOTS).to_pydict()
    index_of = {user_id: index for index, user_id in enumerate(sequences.user_ids)}
    users = [index_of[user_id] for user_id in table[USER_ID]]
    return Texts(
        items=[descriptions[item_id] for item_id in sequences.item_ids[1:]],
        points=np.array([users, table[AS_OF]], dtype=np.int64).T.reshape(-1, 2),
        snapshots=table[TEXT],
        sources=table[SOURCE],
    )
