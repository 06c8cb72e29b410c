"""The folder of texts: its files are written and read in one place.

P is the number of snapshots, the texts of users.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from ur4rec.columns import AS_OF, TEXT, USER, USER_ID
from ur4rec.data.sequences import Sequences
from ur4rec.storage.artifacts import ArtifactError, check_named, read_artifact
from ur4rec.storage.contents import ContentError, read_columns, read_json, refuse_rows

USER_PREFERENCES = "user_preferences.json"
ITEM_DESCRIPTIONS = "item_descriptions.json"
USER_SNAPSHOTS = "user_snapshots.parquet"
SOURCE = "source"
IMPORTED = "imported"
"""The source of texts that existed before."""
SCHEMA = pa.schema([(USER_ID, pa.string()), (AS_OF, pa.int64()), (TEXT, pa.string()), (SOURCE, pa.string())])
SEQUENCES_DIGEST = "sequences_digest"
"""This detail of the manifest says what the texts were written for."""
TEXT_SETTINGS = "text_settings"
"""This detail of the embeddings' manifest holds the settings that the texts were written by."""
LEAK_CHECK = "leak_check"
"""This detail of the manifest holds the verdict of the leak check."""
LEAK = "LEAK"
ROWS_AT_ONCE = 8192


class LeakError(ValueError):
    """Texts know what they should not; the message says what to do."""


@dataclass(frozen=True)
class Texts:
    """Every text of a data set.

    Args:
        items: Description of item index i at position i − 1.
        points: User index and `as_of` of every snapshot, sorted.
        snapshots: The text at each point.
        sources: What wrote each snapshot.
        has_leaks: Whether they did not pass the leak check when they were written.
    """

    items: Sequence[str]
    points: Int[np.ndarray, "P 2"]
    snapshots: Sequence[str]
    sources: Sequence[str]
    has_leaks: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One text of one user, and what wrote it."""

    user: int
    as_of: int
    text: str
    source: str


def write_items(folder: Path, texts: Iterable[str], sequences: Sequences) -> None:
    """Write the descriptions of all items, in the order of their indices, as they come; none of them is held."""
    _write_json(folder / ITEM_DESCRIPTIONS, zip(sequences.item_ids[1:], texts, strict=True))


def write_snapshots(folder: Path, snapshots: Iterable[Snapshot], sequences: Sequences) -> None:
    """Write every text of a user, and the newest of each user, as they come; a few thousand are held at most.

    Args:
        folder: The two files go here.
        snapshots: Sorted by user and `as_of`.
        sequences: The data set.
    """
    written = _write_table(folder / USER_SNAPSHOTS, snapshots, sequences)
    newest = (deque(texts, maxlen=1).pop() for _, texts in groupby(written, key=attrgetter("user")))
    _write_json(folder / USER_PREFERENCES, ((sequences.user_ids[text.user], text.text) for text in newest))


def _write_table(path: Path, snapshots: Iterable[Snapshot], sequences: Sequences) -> Iterator[Snapshot]:
    """Write the snapshots and yield each of them on."""
    waiting = iter(snapshots)
    with pq.ParquetWriter(path, SCHEMA) as table:
        while group := list(islice(waiting, ROWS_AT_ONCE)):
            users = [sequences.user_ids[snapshot.user] for snapshot in group]
            columns = [[getattr(snapshot, name) for snapshot in group] for name in (AS_OF, TEXT, SOURCE)]
            table.write_table(pa.table([users, *columns], schema=SCHEMA))
            yield from group


def _write_json(path: Path, texts: Iterable[tuple[str, str]]) -> None:
    """Write a JSON object of texts, a line each, as they come."""
    before = "{"
    with path.open("w", encoding="utf-8") as file:
        for key, text in texts:
            file.write(f"{before}\n {_to_json(key)}: {_to_json(text)}")
            before = ","
        file.write("{}\n" if before == "{" else "\n}\n")


_to_json = json.JSONEncoder(ensure_ascii=False).encode


def load_texts(path: Path, sequences: Sequences) -> Texts:
    """Read a folder of texts and verify it.

    Raises:
        ArtifactError: The folder is incomplete or altered, was written for other sequences, or what a file holds is not
            what belongs there; the message names the file.
    """
    path = Path(path)
    manifest = read_artifact(path)
    if manifest.details.get(SEQUENCES_DIGEST) != sequences.digest:
        raise ArtifactError(f"{path}: written for other sequences than {sequences.name!r}; run generate_text again")
    check_named(path, manifest, (ITEM_DESCRIPTIONS, USER_SNAPSHOTS))
    descriptions = read_json(path / ITEM_DESCRIPTIONS, dict[str, str])
    if differing := descriptions.keys() ^ set(sequences.item_ids[1:]):
        raise ContentError(path / ITEM_DESCRIPTIONS, f"expected a text for every item, item {min(differing)!r} differs")
    table = read_columns(path / USER_SNAPSHOTS, (USER_ID, TEXT, SOURCE), (AS_OF,)).to_pydict()
    index_of = {user_id: index for index, user_id in enumerate(sequences.user_ids)}
    users = [index_of.get(user_id, 0) for user_id in table[USER_ID]]
    points = np.array([users, table[AS_OF]], dtype=np.int64).T.reshape(-1, 2)
    check_points(path / USER_SNAPSHOTS, points, sequences)
    told = manifest.details.get("snapshots")
    if isinstance(told, dict) and told.get("total", len(points)) != len(points):
        raise ContentError(path / USER_SNAPSHOTS, f"expected {told['total']} texts of users, found {len(points)}")
    return Texts(
        items=[descriptions[item_id] for item_id in sequences.item_ids[1:]],
        points=points,
        snapshots=table[TEXT],
        sources=table[SOURCE],
        has_leaks=manifest.details.get(LEAK_CHECK) == LEAK,
    )


def check_points(path: Path, points: Int[np.ndarray, "P 2"], sequences: Sequences) -> None:
    """Check the user index and `as_of` of texts.

    Raises:
        ContentError: A row names no user of the data set, or is not in order.
    """
    users, as_of = points.T
    refuse_rows(path, (users < 1) | (users > sequences.num_users), f"a user of {sequences.name!r}")
    unsorted = (np.diff(users) < 0) | ((np.diff(users) == 0) & (np.diff(as_of) <= 0))
    refuse_rows(path, unsorted, "a later text of the same user, or a later user, in the row after it")


def check_prefixes(path: Path, points: Int[np.ndarray, "P 2"], sequences: Sequences) -> None:
    """Check that each text was written from a part of the training prefix; only the leak check reads other texts.

    Raises:
        ContentError: A row was not.
    """
    users, as_of = points.T
    lengths = np.bincount(sequences.train[:, USER], minlength=sequences.num_users + 1)
    outside = (as_of < 1) | (as_of > lengths[users])
    refuse_rows(path, outside, "an as_of from 1 to the user's training interactions")
