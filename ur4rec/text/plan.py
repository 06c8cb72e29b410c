"""Which texts a data set needs: those that exist already, and the requests for all others."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from ur4rec.data.sequences import Histories, Sequences, load_sequences
from ur4rec.text.artifact import IMPORTED, Snapshot, write_items, write_snapshots
from ur4rec.text.config import GridConfig
from ur4rec.text.imports import ImportedItems, ImportedUsers, import_items, import_users
from ur4rec.text.leaks.check import LeakReport, judge_texts
from ur4rec.text.providers import Advance, Text, TextProvider
from ur4rec.text.requests import ItemRequest, UserRequest, build_item_requests
from ur4rec.text.snapshots import build_user_requests, compute_grid

EXACT = "written from the user's interactions [0, as_of) of the training prefix and nothing else"
DECLARED = "imported; as_of as the file declares it, unverified"
UNVERIFIED = "imported, unverified: the file does not say what its texts were written from; as_of = training prefix"

_NO_POINTS = np.empty((0, 2), dtype=np.int64)


@dataclass(frozen=True)
class TextPlan:
    """The texts of a data set before they are written.

    Args:
        data: The data set.
        histories: The training prefix of every user.
        items: Request of item index i at position i − 1.
        points: User index and `as_of` of the texts to write, sorted.
        imported_items: Texts of items that exist.
        imported_users: Texts of users that exist.
    """

    data: Sequences
    histories: Histories
    items: list[ItemRequest]
    points: Int64[np.ndarray, "P 2"]
    imported_items: ImportedItems | None
    imported_users: ImportedUsers | None

    @cached_property
    def _known(self) -> dict[int, str]:
        return dict(self.imported_items.texts) if self.imported_items else {}

    @property
    def num_texts(self) -> int:
        """Texts to write."""
        return len(self.items) - len(self._known) + len(self.points)

    def item_requests(self) -> Iterator[ItemRequest]:
        """Of the items without a text."""
        return (request for index, request in enumerate(self.items, 1) if index not in self._known)

    def user_requests(self) -> Iterator[UserRequest]:
        """At every point."""
        return build_user_requests(self.points, self.histories, self.items, self.data.user_ids)

    def write(self, folder: Path, provider: TextProvider, advance: Advance) -> dict[str, Any]:
        """Writes all texts, those that exist among them; says how many and where they are from, for the manifest."""
        items, snapshots = Counter[str](), Counter[str]()
        write_items(folder, self._describe_items(provider, advance, items), self.data)
        write_snapshots(folder, self._describe_users(provider, advance, snapshots), self.data)
        return self._count(items, snapshots)

    def judge(self, source: str) -> LeakReport:
        """The leak check of all texts.

        Args:
            source: What to call them.
        """
        users = self.imported_users
        return judge_texts(self.data, self.points, (users.points, users.texts) if users else (_NO_POINTS, []), source)

    def _describe_items(self, provider: TextProvider, advance: Advance, sources: Counter[str]) -> Iterator[str]:
        written = provider.describe_items(self.item_requests(), advance)
        for index in range(1, len(self.items) + 1):
            text = Text(self._known[index], IMPORTED) if index in self._known else next(written)
            sources[text.source] += 1
            yield text.text

    def _describe_users(self, provider: TextProvider, advance: Advance, sources: Counter[str]) -> Iterator[Snapshot]:
        own = zip(self.points, provider.describe_users(self.user_requests(), advance), strict=True)
        snapshots = (Snapshot(int(user), int(as_of), text.text, text.source) for (user, as_of), text in own)
        for snapshot in heapq.merge(snapshots, self._imported_snapshots(), key=attrgetter("user")):
            sources[snapshot.source] += 1
            yield snapshot

    def _imported_snapshots(self) -> Iterator[Snapshot]:
        if self.imported_users:
            for (user, as_of), text in zip(self.imported_users.points, self.imported_users.texts, strict=True):
                yield Snapshot(int(user), int(as_of), text, IMPORTED)

    def _count(self, item_sources: Counter[str], snapshot_sources: Counter[str]) -> dict[str, Any]:
        items, users = self.imported_items, self.imported_users
        provenance = {"provider": EXACT}
        imported = np.unique((users.points if users else _NO_POINTS)[:, 0])
        if users:
            provenance[IMPORTED] = DECLARED if users.as_of_declared else UNVERIFIED
        return {
            "items": {
                "total": len(self.items),
                "by_source": dict(item_sources),
                "imported_ids_not_in_data": items.num_unknown if items else 0,
            },
            "users": {
                "total": self.data.num_users,
                "without_text": self.data.num_users - len(np.unique(self.points[:, 0])) - len(imported),
                "imported": len(imported),
                "imported_ids_not_in_data": users.num_unknown if users else 0,
            },
            "snapshots": {"total": snapshot_sources.total(), "by_source": dict(snapshot_sources)},
            "provenance": provenance,
        }


def plan_texts(
    sequences: Path, config: GridConfig, item_text: Path | None = None, user_text: Path | None = None
) -> TextPlan:
    """Finds out which texts are needed.

    Args:
        sequences: Folder written by `preprocess_sequences`.
        config: The grid.
        item_text: JSON file of item texts that exist already.
        user_text: JSON file of user texts that exist already, or a parquet of them with `as_of`.

    Raises:
        TextImportError: A file of texts cannot be used.
        ArtifactError: The sequences are incomplete or altered.
    """
    data = load_sequences(sequences)
    histories = data.histories("validation")
    items = import_items(item_text, data.item_ids) if item_text else None
    users = import_users(user_text, data.user_ids, histories) if user_text else None
    points = compute_grid(histories, config.snapshot_base)
    if users:
        points = points[~np.isin(points[:, 0], users.points[:, 0])]
    return TextPlan(data, histories, build_item_requests(data.items), points, items, users)
