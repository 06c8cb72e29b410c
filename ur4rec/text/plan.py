"""The plan of a data set's texts: those that exist already, and the requests for all others."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from ur4rec.columns import USER
from ur4rec.data.sequences import Histories, Sequences
from ur4rec.text.artifact import IMPORTED, Snapshot, write_items, write_snapshots
from ur4rec.text.config import GridConfig
from ur4rec.text.imports import NO_ITEMS, NO_USERS, ImportedItems, ImportedUsers, import_items, import_users
from ur4rec.text.leaks.check import LeakReport, judge_texts
from ur4rec.text.providers import Advance, Text, TextProvider
from ur4rec.text.requests import ItemRequest, UserRequest, build_item_requests
from ur4rec.text.snapshots import build_user_requests, compute_grid

EXACT = "written from the user's interactions [0, as_of) of the training prefix and nothing else"
DECLARED = "imported; as_of as the file declares it, unverified"
UNVERIFIED = "imported, unverified: the file does not say what its texts were written from; as_of = training prefix"


@dataclass(frozen=True)
class TextPlan:
    """The texts of a data set before they are written.

    Args:
        data: The data set.
        histories: The training prefix of every user.
        items: Request of item index i at position i − 1.
        points: User index and `as_of` of the texts to write, sorted.
        imported_items: The texts of items that exist.
        imported_users: The texts of users that exist.
    """

    data: Sequences
    histories: Histories
    items: list[ItemRequest]
    points: Int64[np.ndarray, "P 2"]
    imported_items: ImportedItems
    imported_users: ImportedUsers

    def with_base(self, base: int) -> TextPlan:
        """Return the same plan with the first text of a user after `base` interactions."""
        points = compute_grid(self.histories, base)
        return replace(self, points=points[~np.isin(points[:, 0], self.imported_users.points[:, 0])])

    @property
    def covered_share(self) -> float:
        """Return the share of the test targets whose user has a text that they may see; 1 where there is none."""
        users = np.union1d(self.points[:, 0], self.imported_users.points[:, 0])
        return float(np.isin(self.data.test[:, USER], users).mean()) if len(self.data.test) else 1.0

    @property
    def num_texts(self) -> int:
        """Return the number of texts to write."""
        return len(self.items) - len(self.imported_items.texts) + len(self.points)

    def item_requests(self) -> Iterator[ItemRequest]:
        """Yield the requests of the items without a text."""
        known = self.imported_items.texts
        return (request for index, request in enumerate(self.items, 1) if index not in known)

    def user_requests(self) -> Iterator[UserRequest]:
        """Yield the request at every point."""
        return build_user_requests(self.points, self.histories, self.items, self.data.user_ids)

    def write(self, folder: Path, provider: TextProvider, advance: Advance) -> dict[str, Any]:
        """Write all texts, and return for the manifest how many there are and where they come from."""
        items, snapshots = Counter[str](), Counter[str]()
        write_items(folder, self._describe_items(provider, advance, items), self.data)
        write_snapshots(folder, self._describe_users(provider, advance, snapshots), self.data)
        return self._count(items, snapshots)

    def judge(self, source: str) -> LeakReport:
        """Check all texts for leaks; the report calls them `source`."""
        return judge_texts(self.data, self.points, (self.imported_users.points, self.imported_users.texts), source)

    def _describe_items(self, provider: TextProvider, advance: Advance, sources: Counter[str]) -> Iterator[str]:
        known, written = self.imported_items.texts, provider.describe_items(self.item_requests(), advance)
        for index in range(1, len(self.items) + 1):
            text = Text(known[index], IMPORTED) if index in known else next(written)
            sources[text.source] += 1
            yield text.text

    def _describe_users(self, provider: TextProvider, advance: Advance, sources: Counter[str]) -> Iterator[Snapshot]:
        users = self.imported_users
        own = zip(self.points, provider.describe_users(self.user_requests(), advance), strict=True)
        imported = zip(users.points, (Text(text, IMPORTED) for text in users.texts), strict=True)
        for (user, as_of), text in heapq.merge(own, imported, key=lambda row: int(row[0][0])):
            sources[text.source] += 1
            yield Snapshot(int(user), int(as_of), text.text, text.source)

    def _count(self, item_sources: Counter[str], snapshot_sources: Counter[str]) -> dict[str, Any]:
        users, provenance = self.imported_users, {"provider": EXACT}
        num_imported, num_written = (len(np.unique(points[:, 0])) for points in (users.points, self.points))
        if num_imported:
            provenance[IMPORTED] = DECLARED if users.as_of_declared else UNVERIFIED
        return {
            "items": {
                "total": len(self.items),
                "by_source": dict(item_sources),
                "of_an_id_alone": sum(request == ItemRequest(request.item_id, "") for request in self.item_requests()),
                "imported_ids_not_in_data": self.imported_items.num_unknown,
            },
            "users": {
                "total": self.data.num_users,
                "without_text": self.data.num_users - num_written - num_imported,
                "imported": num_imported,
                "imported_ids_not_in_data": users.num_unknown,
            },
            "snapshots": {"total": snapshot_sources.total(), "by_source": dict(snapshot_sources)},
            "provenance": provenance,
        }


def plan_texts(
    data: Sequences, config: GridConfig, item_text: Path | None = None, user_text: Path | None = None
) -> TextPlan:
    """Find out which texts `generate_text` has to write, and read those that exist already.

    Nothing of `config` is left to the data any more: it decides what is asked as well.

    Raises:
        TextImportError: A file of texts cannot be used.
    """
    assert not config.left_to_data
    histories = data.histories("validation")
    items = import_items(item_text, data.item_ids) if item_text else NO_ITEMS
    users = import_users(user_text, data.user_ids, histories) if user_text else NO_USERS
    plan = TextPlan(data, histories, build_item_requests(data.items), np.empty((0, 2), dtype=np.int64), items, users)
    return plan.with_base(config.snapshot_base)
