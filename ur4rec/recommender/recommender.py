"""The recommender: top-K items for known users, inline histories and unknown users, and the table of its answers.

Letters: B requests scored at once, N items, K recommendations a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ur4rec.columns import ITEM_ID, TITLE, USER_ID
from ur4rec.recommender.bundle import Bundle, load_bundle, load_scorer
from ur4rec.recommender.requests import (
    FALLBACK,
    HISTORY,
    ITEM,
    Answer,
    Query,
    RecommendError,
    Request,
    read_history,
    read_item_ids,
    read_user,
    resolve,
)

COLUMNS = ("request", USER_ID, "rank", ITEM_ID, TITLE, "score", "source")
UNKNOWN_ITEMS = "unknown_items"
"""Attribute of the table: request number → items of its history that are not in the catalogue."""
MAX_BATCH = 1024
BLOCK = 1024
"""Columns whose maximum is taken first where a row is long."""
MAX_SCORES = 1 << 24
"""Scores held at once: 64 MiB of float32, whatever the catalogue's size."""


class Scorer(Protocol):
    """Scores of the whole catalogue, float32 `[B, N+1]`; column 0 is padding. The caller may change what it gets."""

    def __call__(self, users: np.ndarray) -> Tensor:
        """Score dense user indices."""
        ...

    def score_prefixes(self, users: np.ndarray, lengths: np.ndarray) -> Tensor:
        """Score dense user indices as they were after their first `lengths` interactions."""
        ...

    def score_histories(self, items: Sequence[np.ndarray], timestamps: Sequence[np.ndarray] | None = None) -> Tensor:
        """Score histories of dense item indices."""
        ...

    def compare_items(self, items: np.ndarray) -> Tensor:
        """Tell how alike each of some dense item indices and every item are."""
        ...


class Recommender:
    """A bundle's tables with the model that scores them."""

    def __init__(self, bundle: Bundle, scorer: Scorer) -> None:
        self.bundle = bundle
        self._scorer = scorer

    @classmethod
    def load(cls, bundle: Path, device: str = "cpu") -> Recommender:
        """Load and verify a bundle folder.

        Raises:
            ArtifactError: The folder is not a bundle, is incomplete or was altered.
        """
        loaded = load_bundle(Path(bundle))
        return cls(loaded, load_scorer(loaded.path, loaded.histories, device))

    def recommend(
        self,
        user_ids: Sequence[object] | None = None,
        histories: Sequence[object] | None = None,
        k: int = 10,
        exclude_seen: bool | None = None,
        allow: Sequence[object] | None = None,
        deny: Sequence[object] | None = None,
    ) -> pd.DataFrame:
        """Find the `k` best items of each request.

        A request with a history is answered from that history, whoever the user is; one with a known
        user from what that user did; any other with what was popular recently.

        Args:
            user_ids: Original user ids, text or whole numbers, one a request, or None.
            histories: Original item ids in order of time, one list a request, or None. Items that
                are not in the catalogue are ignored and counted in `attrs["unknown_items"]`.
            k: Items a request; fewer come back where fewer are left.
            exclude_seen: Leave out what the request's history holds; None: if the model was made to.
            allow: Original ids of the only items that any request may get; None: all.
            deny: Original ids of items that no request gets.

        Returns:
            One row a recommendation: `request` (from 0), `user_id`, `rank` (from 1), `item_id`, `title`,
            `score` (comparable inside one request only), `source` (`user`, `history` or `fallback`).

        Raises:
            RecommendError: Neither ids nor histories, unequal lengths, an id of another type, or `k` below 1.
        """
        limits = _read_limits(allow, deny)
        requests = [replace(request, **limits) for request in _pair(user_ids, histories, k, exclude_seen)]
        answers = self.answer([resolve(request, self.bundle) for request in requests])
        return tabulate(self.bundle, [request.user_id for request in requests], answers)

    def find_similar(
        self,
        item_ids: Sequence[object],
        k: int = 10,
        allow: Sequence[object] | None = None,
        deny: Sequence[object] | None = None,
    ) -> pd.DataFrame:
        """Find the `k` items that are most like each of some items, by what the model knows of both.

        Args:
            item_ids: Original ids, one a request.
            k: Items a request; fewer come back where fewer are left.
            allow: Original ids of the only items that any request may get; None: all.
            deny: Original ids of items that no request gets.

        Returns:
            The rows of `recommend`, with `item` as their `source`; the score is a mean cosine, from −1 to 1.

        Raises:
            RecommendError: An item is not in the catalogue, an id is of another type, or `k` is below 1.
        """
        given = read_item_ids(item_ids, "item_ids") or []
        limits = _read_limits(allow, deny)
        requests = [Request(k=k, similar_to=item_id, **limits) for item_id in given]
        answers = self.answer([resolve(request, self.bundle) for request in requests])
        return tabulate(self.bundle, [None] * len(requests), answers)

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """Answer queries, in their order; those of a kind are scored together."""
        kinds: dict[tuple[str, bool], list[int]] = {}
        for number, query in enumerate(queries):
            kinds.setdefault((query.source, query.seq_end is None), []).append(number)
        answers: dict[int, Answer] = {}
        for (source, _), numbers in kinds.items():
            for start in range(0, len(numbers), self.batch_size):
                some = numbers[start : start + self.batch_size]
                few = [queries[number] for number in some]
                found = [self._fall_back(query) for query in few] if source == FALLBACK else self._answer(few)
                answers.update(zip(some, found, strict=True))
        return [answers[number] for number in range(len(queries))]

    @property
    def batch_size(self) -> int:
        """Users scored together, so that their scores stay below `MAX_SCORES`."""
        return max(1, min(MAX_BATCH, MAX_SCORES // (self.bundle.num_items + 1)))

    def top_users(
        self, users: range, k: int, exclude_seen: bool | None = None
    ) -> tuple[Float[np.ndarray, "B K"], Int[np.ndarray, "B K"]]:
        """Score neighbouring users; return scores and item indices, best first, where minus infinity is none.

        Args:
            users: Dense user indices, at most `batch_size`.
            k: Items a user, at most the catalogue.
            exclude_seen: Leave out what a user has done; None: if the model was made to.
        """
        offsets = self.bundle.histories.offsets[users.start : users.stop + 1]
        if not (self.bundle.excludes_seen if exclude_seen is None else exclude_seen):
            offsets = np.zeros_like(offsets)
        with torch.inference_mode():
            scores = self._scorer(np.arange(users.start, users.stop))
            return _best(scores, self.bundle.histories.items[offsets[0] : offsets[-1]], np.diff(offsets), k)

    def _score(self, queries: Sequence[Query]) -> Tensor:
        if queries[0].source == ITEM:
            return self._scorer.compare_items(np.concatenate([query.items for query in queries]))
        if queries[0].source == HISTORY:
            return self._scorer.score_histories([query.items for query in queries])
        users = np.array([query.user for query in queries])
        if queries[0].seq_end is None:
            return self._scorer(users)
        return self._scorer.score_prefixes(users, np.array([query.seq_end for query in queries]))

    def _answer(self, queries: list[Query]) -> list[Answer]:
        left_out = [query.left_out for query in queries]
        lengths = np.array([len(items) for items in left_out])
        most = max(query.k for query in queries)
        with torch.inference_mode():
            raw = _keep_allowed(self._score(queries), [query.allowed for query in queries])
            scores, items = _best(raw, np.concatenate(left_out), lengths, most)
        left = np.isfinite(scores).sum(axis=1).tolist()
        ends = [min(query.k, most) for query, most in zip(queries, left, strict=True)]
        return [
            Answer(query, items[row, :end], scores[row, :end].astype(np.float64))
            for row, (query, end) in enumerate(zip(queries, ends, strict=True))
        ]

    def _fall_back(self, query: Query) -> Answer:
        items = self.bundle.fallback_order
        if query.allowed is not None:
            items = items[np.isin(items, query.allowed)]
        if len(query.denied):
            items = items[~np.isin(items, query.denied)]
        items = items[: query.k]
        return Answer(query, items, self.bundle.popularity[items].astype(np.float64))


def _keep_allowed(
    scores: Float[Tensor, "B N1"], allowed: Sequence[Int[np.ndarray, "C"] | None]
) -> Float[Tensor, "B N1"]:
    """Puts what a row does not allow at minus infinity, in place; a row with None allows everything."""
    rows = [row for row, items in enumerate(allowed) if items is not None]
    if rows:
        lists = [items for items in allowed if items is not None]
        barred = torch.ones(len(rows), scores.shape[1], dtype=torch.bool)
        places = np.repeat(np.arange(len(rows)), [len(items) for items in lists])
        barred[torch.from_numpy(places), torch.from_numpy(np.concatenate(lists))] = False
        scores[rows] = scores[rows].masked_fill(barred.to(scores.device), float("-inf"))
    return scores


def _best(
    scores: Float[Tensor, "B N1"], seen: Int[np.ndarray, "R"], lengths: Int[np.ndarray, "B"], k: int
) -> tuple[Float[np.ndarray, "B K"], Int[np.ndarray, "B K"]]:
    """Return the top scores of each row and their columns; padding and what a row has seen are at minus infinity.

    Args:
        scores: Changed in place.
        seen: Columns, those of a row one after another.
        lengths: How many each row has.
        k: Columns a row.
    """
    scores[:, 0] = float("-inf")
    rows = np.repeat(np.arange(len(lengths)), lengths)
    scores[torch.from_numpy(rows), torch.from_numpy(seen)] = float("-inf")
    best, columns = top_columns(scores, k)
    return best.cpu().numpy(), columns.cpu().numpy()


def top_columns(scores: Float[Tensor, "B C"], k: int) -> tuple[Float[Tensor, "B K"], Int[Tensor, "B K"]]:
    """Do what `torch.topk` does with each row, but search only the `k` blocks of a long row with the largest maxima.

    The `k` largest values lie in at most `k` blocks, and a maximum is found ten times faster than a ranking. Where a
    value is minus infinity, its column means nothing.
    """
    num_blocks = -(-scores.shape[1] // BLOCK)
    if num_blocks < 2 * k:
        return torch.topk(scores, k, dim=1)
    padded = functional.pad(scores, (0, num_blocks * BLOCK - scores.shape[1]), value=float("-inf"))
    blocks = padded.view(len(scores), num_blocks, BLOCK)
    chosen = blocks.amax(dim=2).topk(k, dim=1).indices
    inside = blocks.gather(1, chosen[..., None].expand(-1, -1, BLOCK)).flatten(1)
    best, places = inside.topk(k, dim=1)
    return best, chosen.gather(1, places // BLOCK) * BLOCK + places % BLOCK


def tabulate(bundle: Bundle, user_ids: Sequence[str | None], answers: Sequence[Answer]) -> pd.DataFrame:
    """Make a row a recommendation; `user_ids` are those of the requests, as they were given."""
    lengths = [len(answer.items) for answer in answers]
    items = _join([answer.items for answer in answers], np.int64)
    users = np.repeat(np.array(user_ids, dtype=object), lengths)
    columns = {
        "request": np.repeat(np.arange(len(answers)), lengths),
        USER_ID: pd.Series(users, dtype=object),  # a string column would turn None into NaN, which is no JSON
        "rank": _join([np.arange(1, length + 1) for length in lengths], np.int64),
        ITEM_ID: bundle.item_ids[items],
        TITLE: bundle.titles[items],
        "score": _join([answer.scores for answer in answers], np.float64),
        "source": np.repeat(np.array([answer.query.source for answer in answers], dtype=object), lengths),
    }
    table = pd.DataFrame(columns)
    table.attrs[UNKNOWN_ITEMS] = {
        number: answer.query.unknown_items for number, answer in enumerate(answers) if answer.query.unknown_items
    }
    return table


def _join(parts: list[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    return np.concatenate(parts).astype(dtype) if parts else np.empty(0, dtype=dtype)


def _read_limits(allow: Sequence[object] | None, deny: Sequence[object] | None) -> dict[str, Any]:
    return {"allow": read_item_ids(allow, "allow"), "deny": read_item_ids(deny, "deny") or ()}


def _pair(
    user_ids: Sequence[object] | None, histories: Sequence[object] | None, k: int, exclude_seen: bool | None
) -> list[Request]:
    if user_ids is None and histories is None:
        raise RecommendError("expected user_ids, histories or both; got neither")
    for name, given in (("user_ids", user_ids), ("histories", histories)):
        if isinstance(given, str):
            raise RecommendError(f"{name}: expected a list, one entry a request; got the text {given!r}")
    if user_ids is not None and histories is not None and len(user_ids) != len(histories):
        raise RecommendError(
            f"expected one history a user id (or None), got {len(user_ids)} ids and {len(histories)} histories"
        )
    users = user_ids if user_ids is not None else [None] * len(histories or [])
    items = histories if histories is not None else [None] * len(users)
    return [
        Request(read_user(user, row), read_history(history, row), k=k, exclude_seen=exclude_seen)
        for row, (user, history) in enumerate(zip(users, items, strict=True))
    ]
