"""Which texts a data set needs: those that exist already, and the requests for all others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from ur4rec.data.sequences import Histories, Sequences, load_sequences
from ur4rec.text.artifact import IMPORTED, Texts
from ur4rec.text.config import TextConfig
from ur4rec.text.imports import ImportedItems, ImportedUsers, import_items, import_users
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

    def write(self, provider: TextProvider, advance: Advance) -> tuple[Texts, dict[str, Any]]:
        """All texts, those that exist among them; how many there are and where they are from, for the manifest."""
        descriptions = self._describe_items(provider, advance)
        snapshots = list(provider.describe_users(self.user_requests(), advance))
        points = self.points
        if self.imported_users:
            points = np.concatenate([points, self.imported_users.points])
            snapshots += [Text(text, IMPORTED) for text in self.imported_users.texts]
        order = np.lexsort((points[:, 1], points[:, 0]))
        texts = Texts(
            items=[text.text for text in descriptions],
            points=points[order],
            snapshots=[snapshots[position].text for position in order],
            sources=[snapshots[position].source for position in order],
        )
        return texts, self._count(texts, Counter(text.source for text in descriptions))

    def _describe_items(self, provider: TextProvider, advance: Advance) -> list[Text]:
        written = provider.describe_items(self.item_requests(), advance)
        return [
            Text(self._known[index], IMPORTED) if index in self._known else next(written)
            for index in range(1, len(self.items) + 1)
        ]

    def _count(self, texts: Texts, item_sources: Counter[str]) -> dict[str, Any]:
        items, users = self.imported_items, self.imported_users
        provenance = {"provider": EXACT}
        if users:
            provenance[IMPORTED] = DECLARED if users.as_of_declared else UNVERIFIED
        return {
            "items": {
                "total": len(texts.items),
                "by_source": dict(item_sources),
                "imported_ids_not_in_data": items.num_unknown if items else 0,
            },
            "users": {
                "total": self.data.num_users,
                "without_text": self.data.num_users - len(np.unique(texts.points[:, 0])),
                "imported": len(np.unique(users.points[:, 0])) if users else 0,
                "imported_ids_not_in_data": users.num_unknown if users else 0,
            },
            "snapshots": {"total": len(texts.snapshots), "by_source": dict(Counter(texts.sources))},
            "provenance": provenance,
        }


def plan_texts(
    sequences: Path, config: TextConfig, item_text: Path | None = None, user_text: Path | None = None
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
