"""The folder of texts: its files, written and read in one place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


def write_texts(folder: Path, texts: Texts, sequences: Sequences) -> None:
    """Writes the three files of texts, keyed by original ids."""
    users = [sequences.user_ids[user] for user in texts.points[:, 0]]
    _write_json(folder / ITEM_DESCRIPTIONS, dict(zip(sequences.item_ids[1:], texts.items, strict=True)))
    _write_json(folder / USER_PREFERENCES, dict(zip(users, texts.snapshots, strict=True)))
    columns = [users, texts.points[:, 1], texts.snapshots, texts.sources]
    pq.write_table(pa.table(columns, schema=SCHEMA), folder / USER_SNAPSHOTS)


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


def _write_json(path: Path, texts: Mapping[str, str]) -> None:
    path.write_text(json.dumps(texts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
