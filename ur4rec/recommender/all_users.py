"""Recommendations for every user of a model, as one Parquet file, in memory that does not grow with their number.

Letters: B users scored at once, K recommendations a user, U users.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ur4rec.columns import ITEM_ID, TITLE, USER_ID
from ur4rec.recommender.bundle import Bundle
from ur4rec.recommender.recommender import Recommender
from ur4rec.storage.temporaries import replacing

ROWS_AT_ONCE = 1 << 17
"""A row group has so many rows, or a few more."""
SCHEMA = pa.schema(
    [
        pa.field(USER_ID, pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
        pa.field(ITEM_ID, pa.string(), nullable=False),
        pa.field(TITLE, pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
    ]
)


@dataclass
class Written:
    """What a file of recommendations holds."""

    rows: int = 0
    users_with_none: int = 0
    """Users for whom nothing is left to recommend."""
    users_with_fewer: int = 0
    """Users who got some, but fewer than were asked for."""

    def add(self, counts: np.ndarray, k: int) -> None:
        """Note the number of rows of some users, each of whom was to get `k`."""
        self.rows += int(counts.sum())
        self.users_with_none += int((counts == 0).sum())
        self.users_with_fewer += int(((counts > 0) & (counts < k)).sum())


def recommend_all(
    recommender: Recommender,
    output: Path,
    k: int = 10,
    exclude_seen: bool | None = None,
    advance: Callable[[int], object] = lambda count: None,
) -> Written:
    """Write the `k` best items of every user, or all that are left; the file appears complete or not at all.

    Args:
        recommender: The loaded model.
        output: Parquet file with the columns of `SCHEMA`, in the order of the model's users, best items first.
        k: Items a user.
        exclude_seen: Leave out what a user has done; None: if the model was made to.
        advance: Called with the number of users done since the last call.
    """
    names = _Names(recommender.bundle)
    num_users, size = len(names.user_ids) - 1, recommender.batch_size
    written, waiting = Written(), []
    with replacing(Path(output)) as temporary, pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
        for start in range(1, num_users + 1, size):
            users = range(start, min(start + size, num_users + 1))
            scores, items = recommender.top_users(users, min(k, recommender.bundle.num_items), exclude_seen)
            waiting.append(names.tabulate(users, scores, items))
            written.add(np.isfinite(scores).sum(axis=1), k)
            if sum(map(len, waiting)) >= ROWS_AT_ONCE:
                writer.write_table(pa.concat_tables(waiting), ROWS_AT_ONCE * 2)
                waiting = []
            advance(len(users))
        writer.write_table(pa.concat_tables([SCHEMA.empty_table(), *waiting]))
    return written


class _Names:
    """Original ids and titles as Arrow arrays, so that rows are looked up without a loop."""

    def __init__(self, bundle: Bundle) -> None:
        user_ids = np.empty(len(bundle.user_index) + 1, dtype=object)
        user_ids[0] = ""
        user_ids[np.fromiter(bundle.user_index.values(), np.int64, len(bundle.user_index))] = list(bundle.user_index)
        self.user_ids, self.item_ids, self.titles = (
            pa.array(names, pa.string()) for names in (user_ids, bundle.item_ids, bundle.titles)
        )

    def tabulate(self, users: range, scores: np.ndarray, items: np.ndarray) -> pa.Table:
        """Make the rows of some users from the `[B, K]` arrays that `Recommender.top_users` returns."""
        row, column = np.nonzero(np.isfinite(scores))
        chosen = items[row, column]
        columns = [
            self.user_ids.take(pa.array(row + users.start)),
            pa.array((column + 1).astype(np.int32)),
            self.item_ids.take(pa.array(chosen)),
            self.titles.take(pa.array(chosen)),
            pa.array(scores[row, column].astype(np.float32)),
        ]
        return pa.Table.from_arrays(columns, schema=SCHEMA)
