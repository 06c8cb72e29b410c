"""Top-K recommendations for known users, inline histories and unknown users.

Letters: B requests scored at once, N items, K recommendations a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from ur4rec.columns import ITEM_ID, TITLE, USER_ID
from ur4rec.registry.bundle import Bundle, load_bundle
from ur4rec.registry.served_model import load_scorer

USER, HISTORY, FALLBACK = "user", "history", "fallback"
COLUMNS = ("request", USER_ID, "rank", ITEM_ID, TITLE, "score", "source")
UNKNOWN_ITEMS = "unknown_items"
"""Attribute of the result: request number → items of its history that are not in the catalogue."""

MAX_BATCH = 256
MAX_SCORES = 1 << 24
"""Scores held at once: 64 MiB of float32, whatever the catalogue's size."""


class RecommendError(ValueError):
    """A request that cannot be answered; says what was expected."""


class Scorer(Protocol):
    """Scores of the whole catalogue; column 0 is padding."""

    def __call__(self, users: np.ndarray) -> Tensor:
        """Scores for dense user indices, float32 `[B, N+1]`."""
        ...

    def score_histories(self, items: Sequence[np.ndarray], timestamps: Sequence[np.ndarray] | None = None) -> Tensor:
        """Scores for histories of dense item indices, float32 `[B, N+1]`."""
        ...


@dataclass(frozen=True)
class _Request:
    number: int
    user_id: str | None
    source: str
    user: int
    items: np.ndarray
    """Dense item indices of the history that is scored."""
    unknown_items: int = 0


@dataclass(frozen=True)
class _Answer:
    request: _Request
    items: np.ndarray
    scores: np.ndarray


class Recommender:
    """A bundle with its model.

    Args:
        bundle: Tables of the bundle.
        scorer: The model over those tables.
    """

    def __init__(self, bundle: Bundle, scorer: Scorer) -> None:
        self.bundle = bundle
        self._scorer = scorer

    @classmethod
    def load(cls, bundle: Path, device: str = "cpu") -> Recommender:
        """Loads and verifies a bundle folder.

        Raises:
            ArtifactError: The folder is not a bundle, is incomplete or was altered.
        """
        loaded = load_bundle(Path(bundle))
        return cls(loaded, load_scorer(loaded.path, loaded.histories, device))

    def recommend(
        self,
        user_ids: Sequence[str | None] | None = None,
        histories: Sequence[Sequence[str] | None] | None = None,
        k: int = 10,
        exclude_seen: bool = True,
    ) -> pd.DataFrame:
        """The `k` best items of each request.

        A request with a history is answered from that history, whoever the user is; one with a known
        user from what that user did; any other with what was popular recently.

        Args:
            user_ids: Original user ids, one a request, or None.
            histories: Original item ids in order of time, one list a request, or None. Items that
                are not in the catalogue are ignored and counted in `attrs["unknown_items"]`.
            k: Items a request; fewer come back where fewer are left.
            exclude_seen: Leave out what the request's history holds.

        Returns:
            One row a recommendation: `request` (from 0), `user_id`, `rank` (from 1), `item_id`, `title`,
            `score` (comparable inside one request only), `source` (`user`, `history` or `fallback`).

        Raises:
            RecommendError: Neither ids nor histories, unequal lengths, or `k` below 1.
        """
        requests = self._parse(user_ids, histories)
        if k < 1:
            raise RecommendError(f"k: expected at least 1, got {k}")
        k = min(k, self.bundle.num_items)
        answers: list[_Answer] = []
        for source in (USER, HISTORY, FALLBACK):
            chosen = [request for request in requests if request.source == source]
            for start in range(0, len(chosen), self._batch_size):
                answers += self._answer(chosen[start : start + self._batch_size], source, k, exclude_seen)
        return self._tabulate(sorted(answers, key=lambda answer: answer.request.number))

    @property
    def _batch_size(self) -> int:
        return max(1, min(MAX_BATCH, MAX_SCORES // (self.bundle.num_items + 1)))

    def _parse(
        self,
        user_ids: Sequence[str | None] | None,
        histories: Sequence[Sequence[str] | None] | None,
    ) -> list[_Request]:
        if user_ids is None and histories is None:
            raise RecommendError("expected user_ids, histories or both; got neither")
        if user_ids is not None and histories is not None and len(user_ids) != len(histories):
            raise RecommendError(
                f"expected one history a user id (or None), got {len(user_ids)} ids and {len(histories)} histories"
            )
        users = user_ids if user_ids is not None else [None] * len(histories or [])
        items = histories if histories is not None else [None] * len(users)
        return [
            self._parse_one(number, user_id, history)
            for number, (user_id, history) in enumerate(zip(users, items, strict=True))
        ]

    def _parse_one(self, number: int, user_id: str | None, history: Sequence[str] | None) -> _Request:
        if history is not None and len(history):
            known = [index for item in history if (index := self.bundle.item_index.get(str(item)))]
            source = HISTORY if known else FALLBACK
            items = np.asarray(known, dtype=np.int64)
            return _Request(number, user_id, source, 0, items, len(history) - len(known))
        user = self.bundle.user_index.get(str(user_id), 0) if user_id is not None else 0
        return _Request(number, user_id, USER if user else FALLBACK, user, self._history(user))

    def _history(self, user: int) -> np.ndarray:
        start, end = self.bundle.histories.offsets[user : user + 2]
        return self.bundle.histories.items[start:end]

    def _answer(self, requests: list[_Request], source: str, k: int, exclude_seen: bool) -> list[_Answer]:
        if source == FALLBACK:
            items = self.bundle.fallback_order[:k]
            scores = self.bundle.popularity[items].astype(np.float64)
            return [_Answer(request, items, scores) for request in requests]
        best_scores, best_items = self._top(requests, source, k, exclude_seen)
        return [
            _Answer(request, items[np.isfinite(scores)], scores[np.isfinite(scores)])
            for request, items, scores in zip(requests, best_items, best_scores, strict=True)
        ]

    def _top(self, requests: list[_Request], source: str, k: int, exclude_seen: bool) -> tuple[np.ndarray, np.ndarray]:
        histories = [request.items for request in requests]
        with torch.inference_mode():
            if source == USER:
                scores = self._scorer(np.array([request.user for request in requests]))
            else:
                scores = self._scorer.score_histories(histories)
            values, indices = torch.topk(_mask(scores, histories if exclude_seen else []), k, dim=1)
        return values.double().cpu().numpy(), indices.cpu().numpy()

    def _tabulate(self, answers: list[_Answer]) -> pd.DataFrame:
        lengths = [len(answer.items) for answer in answers]
        items = _join([answer.items for answer in answers], np.int64)
        user_ids = np.repeat(np.array([answer.request.user_id for answer in answers], dtype=object), lengths)
        columns = {
            "request": np.repeat([answer.request.number for answer in answers], lengths).astype(np.int64),
            USER_ID: pd.Series(user_ids, dtype=object),  # a string column would turn None into NaN, which is no JSON
            "rank": _join([np.arange(1, length + 1) for length in lengths], np.int64),
            ITEM_ID: self.bundle.item_ids[items],
            TITLE: self.bundle.titles[items],
            "score": _join([answer.scores for answer in answers], np.float64),
            "source": np.repeat(np.array([answer.request.source for answer in answers], dtype=object), lengths),
        }
        table = pd.DataFrame(columns)
        table.attrs[UNKNOWN_ITEMS] = {
            answer.request.number: answer.request.unknown_items for answer in answers if answer.request.unknown_items
        }
        return table


def _mask(scores: Float[Tensor, "B N1"], histories: list[np.ndarray]) -> Float[Tensor, "B N1"]:
    """The scores with padding and the items of `histories` (none, or one a row) at minus infinity."""
    masked = scores.clone()
    masked[:, 0] = float("-inf")
    if histories:
        rows = np.repeat(np.arange(len(histories)), [len(items) for items in histories])
        masked[torch.from_numpy(rows), torch.from_numpy(np.concatenate(histories))] = float("-inf")
    return masked


def _join(parts: list[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    return np.concatenate(parts).astype(dtype) if parts else np.empty(0, dtype=dtype)
