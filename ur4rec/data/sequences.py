"""The artifact that everything downstream reads: three arrays, two maps, the catalogue.

Letters: U users, N items, R interactions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Int64

from ur4rec.columns import DESCRIPTION, GENRES, ITEM, ITEM_ID, TIMESTAMP_S, TITLE, USER, YEAR
from ur4rec.storage.artifacts import Manifest, check_named, read_artifact_of
from ur4rec.storage.contents import ROWS_AT_ONCE, ContentError, read_array, read_columns, read_index, refuse_rows

PRODUCER = "preprocess_sequences"
TRAIN, VAL, TEST = "train_sequences.npy", "val_sequences.npy", "test_sequences.npy"
USER_MAP, ITEM_MAP = "user_map.json", "item_map.json"
ITEMS = "items.parquet"
FILES = (TRAIN, VAL, TEST, USER_MAP, ITEM_MAP, ITEMS)
SIZES = {USER_MAP: "num_users", ITEM_MAP: "num_items"}
"""Map → the detail of the manifest that has its size."""
ITEM_INDEX = "item_index"
"""Column of `items.parquet`; the index of the loaded table."""
ARE_POSITIONS = "are_positions"
"""Key of an imported folder's details, under `timestamps`: whether they are positions in a user's list, not times."""
NEW_ITEMS = "new"
"""Key of the details, under `items`: how many items without an interaction the catalogue has, behind all others."""

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
        """Return the same histories in other item numbers; an item without one (0 in `names`) is left out.

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
        """Find where the interactions of a batch of users lie, in chronological order.

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
        """Count the training interactions of every item."""
        return np.bincount(self.train[:, ITEM], minlength=self.num_items + 1)

    def histories(self, horizon: Horizon) -> Histories:
        """Return what every user has seen strictly before the target of `horizon`.

        `validation`: the training prefix; `test`: with the validation item; `full`: everything.
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
    """Load a folder that `preprocess_sequences` wrote.

    Raises:
        ArtifactError: A file is missing or altered, another task wrote the folder, or what a file holds is not what
            belongs there; names the file and, where there is one, the row.
    """
    path = Path(path)
    manifest = read_artifact_of(path, PRODUCER, {"dataset_name": str, "num_users": int, "num_items": int})
    check_named(path, manifest, FILES)
    user_ids, item_ids = (read_ids(path / name, manifest.details[size]) for name, size in SIZES.items())
    train, val, test = (read_array(path / name, "int64", (None, 3)) for name in (TRAIN, VAL, TEST))
    sequences = Sequences(
        name=manifest.details["dataset_name"],
        train=train,
        val=val,
        test=test,
        user_ids=user_ids,
        item_ids=item_ids,
        items=_read_items(path / ITEMS, item_ids),
        digest=manifest.content_digest,
    )
    for name, rows in ((TRAIN, train), (VAL, val), (TEST, test)):
        _check_rows(path / name, rows, sequences, _may_repeat(manifest))
    _check_targets(path / VAL, val, train)
    _check_targets(path / TEST, test, train)
    _check_targets(path / TEST, test[np.isin(test[:, USER], val[:, USER])], val)
    return sequences


def read_ids(path: Path, size: int | None = None) -> tuple[str, ...]:
    """Return dense index → original id; index 0 is empty.

    Raises:
        ContentError: It is no map of `size` ids to the numbers from 1 on.
    """
    index_of = read_index(path)
    if size not in (None, len(index_of)):
        raise ContentError(path, f"expected {size:,} ids, found {len(index_of):,}")
    return ("", *sorted(index_of, key=index_of.__getitem__))


def check_items(path: Path, table: pa.Table, item_ids: tuple[str, ...]) -> None:
    """Raise a `ContentError` where a table has not the items of a map in the order of their indices."""
    if tuple(table[ITEM_ID].to_pylist()) != item_ids[1:]:
        raise ContentError(
            path, f"expected the {len(item_ids) - 1:,} items of {ITEM_MAP} in the order of their indices"
        )


def _read_items(path: Path, item_ids: tuple[str, ...]) -> pd.DataFrame:
    table = read_columns(path, (ITEM_ID, TITLE, GENRES, DESCRIPTION), (ITEM_INDEX,), (YEAR,))
    check_items(path, table, item_ids)
    items: pd.DataFrame = table.to_pandas(integer_object_nulls=True)
    refuse_rows(path, items[ITEM_INDEX].to_numpy() != np.arange(1, len(items) + 1), "the indices to rise from 1")
    return items.set_index(ITEM_INDEX).astype({YEAR: "Int64"})


def _may_repeat(manifest: Manifest) -> bool:
    """Return whether an interaction may occur twice: imported ones may, and those cut to whole seconds."""
    told = manifest.details.get("timestamps")
    return not isinstance(told, dict) or ARE_POSITIONS in told or told.get("cut_to_whole_seconds") != 0


def _check_rows(path: Path, rows: Int64[np.ndarray, "R 3"], sequences: Sequences, may_repeat: bool) -> None:
    """Check ranges, order and repeats, some rows at a time."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        first = max(0, start - 1)  # the order of two parts is checked too
        users, items, times = np.ascontiguousarray(rows[first : start + ROWS_AT_ONCE].T)
        is_user, is_item = (users > 0) & (users <= sequences.num_users), (items > 0) & (items <= sequences.num_items)
        refuse_rows(path, ~is_user, f"a user from 1 to {sequences.num_users:,}", first)
        refuse_rows(path, ~is_item, f"an item from 1 to {sequences.num_items:,}", first)
        is_same = np.diff(users) == 0
        goes_back = (np.diff(users) < 0) | (is_same & (np.diff(times) < 0))
        refuse_rows(path, goes_back, "the row after it to be of the same user, no earlier, or of a later user", first)
        is_tied = is_same & (np.diff(times) == 0)
        if not may_repeat and is_tied.any():
            in_group = np.append(is_tied, False) | np.append(False, is_tied)
            group = np.cumsum(np.append(True, ~is_tied))[in_group]
            keys = np.sort(group * (sequences.num_items + 1) + items[in_group])
            if (keys[1:] == keys[:-1]).any():
                raise ContentError(path, f"rows {first:,} to {first + len(users) - 1:,}: an interaction occurs twice")


def _check_targets(path: Path, targets: Int64[np.ndarray, "T 3"], before: Int64[np.ndarray, "R 3"]) -> None:
    """Check that each target is its user's only one, and no earlier than what the user did before."""
    users = targets[:, USER]
    refuse_rows(path, np.diff(users) == 0, "one target a user; the row after it is of the same")
    last = np.searchsorted(before[:, USER], users, side="right") - 1
    rows = before[np.maximum(last, 0)]
    refuse_rows(path, (last < 0) | (rows[:, USER] != users), "a user with interactions before the target")
    refuse_rows(
        path, rows[:, TIMESTAMP_S] > targets[:, TIMESTAMP_S], "a target no earlier than what its user did before"
    )
