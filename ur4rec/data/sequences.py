"""The artifact that everything downstream reads: three arrays, two maps, the catalogue.

Letters: U users, N items, R interactions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from jaxtyping import Int64

from ur4rec.columns import ITEM, TIMESTAMP_S, USER, YEAR
from ur4rec.storage.artifacts import read_artifact_of

PRODUCER = "preprocess_sequences"
TRAIN, VAL, TEST = "train_sequences.npy", "val_sequences.npy", "test_sequences.npy"
USER_MAP, ITEM_MAP = "user_map.json", "item_map.json"
ITEMS = "items.parquet"
ITEM_INDEX = "item_index"
"""Column of `items.parquet`; the index of the loaded table."""
ARE_POSITIONS = "are_positions"
"""Key of an imported folder's details, under `timestamps`: whether they are positions in a user's list, not times."""

Horizon = Literal["validation", "test", "full"]


@dataclass(frozen=True)
class Histories:
    """Chronological interactions of every user, one user after the other; user 0 is padding and empty.

    >>> histories = Histories(np.array([0, 0, 2, 3]), np.array([5, 7, 6]), np.array([10, 20, 15]))
    >>> histories.items[histories.offsets[1] : histories.offsets[2]].tolist()
    [5, 7]
    >>> histories.lengths.tolist()
    [0, 2, 1]
    """

    offsets: Int64[np.ndarray, "U2"]
    """The rows of user u are `offsets[u]:offsets[u + 1]`; `[U + 2]`."""
    items: Int64[np.ndarray, "R"]
    timestamps: Int64[np.ndarray, "R"]
    """Seconds since 1970-01-01."""

    @property
    def lengths(self) -> Int64[np.ndarray, "U1"]:
        """Interactions of every user, `[U + 1]`."""
        return np.diff(self.offsets)

    @property
    def num_users(self) -> int:
        """Users without the padding user."""
        return len(self.offsets) - 2

    @property
    def users(self) -> Int64[np.ndarray, "R"]:
        """User of every row."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def rename_items(self, names: Int64[np.ndarray, "N1"]) -> Histories:
        """The same histories in other item numbers; an item without one (0 in `names`) is left out.

        >>> histories = Histories(np.array([0, 0, 2, 3]), np.array([1, 2, 2]), np.array([10, 20, 30]))
        >>> renamed = histories.rename_items(np.array([0, 5, 0]))
        >>> renamed.offsets.tolist(), renamed.items.tolist(), renamed.timestamps.tolist()
        ([0, 0, 1, 1], [5], [10])
        """
        items = names[self.items]
        known = items > 0
        before = np.concatenate([[0], np.cumsum(known)])
        return Histories(before[self.offsets], items[known], self.timestamps[known])

    def find_rows(
        self, users: Int64[np.ndarray, "B"], last: int | None = None
    ) -> tuple[Int64[np.ndarray, "Rbatch"], Int64[np.ndarray, "Rbatch"]]:
        """Where the interactions of a batch of users lie, in chronological order.

        Args:
            users: User indices.
            last: Only this many of each user's newest interactions.

        Returns:
            Position of the user within the batch, and position of the interaction in `items` and `timestamps`.

        >>> histories = Histories(np.array([0, 0, 2, 5]), np.array([7, 8, 4, 5, 6]), np.arange(5))
        >>> [part.tolist() for part in histories.find_rows(np.array([2, 1]), last=2)]
        [[0, 0, 1, 1], [3, 4, 0, 1]]
        """
        ends = self.offsets[users + 1]
        lengths = ends - self.offsets[users]
        if last is not None:
            lengths = np.minimum(lengths, last)
        rows = np.repeat(np.arange(len(users)), lengths)
        return rows, np.arange(len(rows)) + np.repeat(ends - np.cumsum(lengths), lengths)


@dataclass(frozen=True)
class Sequences:
    """A preprocessed data set.

    The arrays are read-only memory maps with the columns user, item, timestamp in seconds, sorted by user,
    then time; `val` and `test` hold target rows only.
    """

    name: str
    train: Int64[np.ndarray, "Rtrain 3"]
    val: Int64[np.ndarray, "Rval 3"]
    test: Int64[np.ndarray, "Rtest 3"]
    user_ids: tuple[str, ...]
    """Dense index → original id; index 0 is padding and empty."""
    item_ids: tuple[str, ...]
    items: pd.DataFrame
    """Index 1..N; `item_id, title, year (nullable), genres ("A|B"), description`, text never missing."""
    digest: str
    """Equal for equal content."""

    @property
    def num_users(self) -> int:
        """Users without the padding user."""
        return len(self.user_ids) - 1

    @property
    def num_items(self) -> int:
        """Items without the padding item."""
        return len(self.item_ids) - 1

    @property
    def num_interactions(self) -> int:
        """Rows of the three arrays."""
        return len(self.train) + len(self.val) + len(self.test)

    def training_counts(self) -> Int64[np.ndarray, "N1"]:
        """Training interactions of every item."""
        return np.bincount(self.train[:, ITEM], minlength=self.num_items + 1)

    def histories(self, horizon: Horizon) -> Histories:
        """What every user has seen strictly before the target of `horizon`.

        Args:
            horizon: `validation`: the training prefix; `test`: with the validation item; `full`: everything.
        """
        parts = {
            "validation": (self.train,),
            "test": (self.train, self.val),
            "full": (self.train, self.val, self.test),
        }[horizon]
        rows = np.concatenate(parts)
        rows = rows[np.argsort(rows[:, USER], kind="stable")]
        return Histories(
            offsets=np.searchsorted(rows[:, USER], np.arange(self.num_users + 2)).astype(np.int64),
            items=np.ascontiguousarray(rows[:, ITEM]),
            timestamps=np.ascontiguousarray(rows[:, TIMESTAMP_S]),
        )


def load_sequences(path: Path) -> Sequences:
    """Loads a folder that `preprocess_sequences` wrote.

    Raises:
        ArtifactError: A file is missing or altered, or another task wrote the folder; names the file.
    """
    path = Path(path)
    manifest = read_artifact_of(path, PRODUCER)
    return Sequences(
        name=manifest.details["dataset_name"],
        train=_map_array(path / TRAIN),
        val=_map_array(path / VAL),
        test=_map_array(path / TEST),
        user_ids=_read_ids(path / USER_MAP),
        item_ids=_read_ids(path / ITEM_MAP),
        items=_read_items(path / ITEMS),
        digest=manifest.content_digest,
    )


def _map_array(path: Path) -> Int64[np.ndarray, "R 3"]:
    array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _read_ids(path: Path) -> tuple[str, ...]:
    index_of: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
    return ("", *sorted(index_of, key=index_of.__getitem__))


def _read_items(path: Path) -> pd.DataFrame:
    items: pd.DataFrame = pq.read_table(path).to_pandas(integer_object_nulls=True)
    return items.set_index(ITEM_INDEX).astype({YEAR: "Int64"})
