"""Requests in the ids of their sender, and the same in dense indices, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ur4rec.recommender.bundle import Bundle

Source = Literal["user", "history", "fallback"]
USER: Source = "user"
HISTORY: Source = "history"
FALLBACK: Source = "fallback"


class RecommendError(ValueError):
    """A request that cannot be answered; says what was expected.

    Args:
        message: What was expected and found.
        field: Field of the request at fault, empty where it is not one of a single request.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.message, self.field = message, field


@dataclass(frozen=True)
class Request:
    """One question, in original ids; without any it is a stranger's."""

    user_id: str | None = None
    history: Sequence[str] | None = None
    """Item ids in order of time."""
    seq_end: int | None = None
    """Score as of the user's first interactions, so many; by default after all of them."""
    k: int = 10
    exclude_seen: bool = True


@dataclass(frozen=True)
class Query:
    """A request that can be answered, in dense indices."""

    source: Source
    user: int
    """0 for nobody."""
    items: np.ndarray
    """Dense item indices of the history that is scored."""
    seq_end: int | None
    k: int
    exclude_seen: bool
    unknown_items: int = 0
    """Items of the request's history that are not in the catalogue."""


@dataclass(frozen=True)
class Answer:
    """What a query gets, best first; fewer than `k` where fewer are left."""

    query: Query
    items: np.ndarray
    """Dense item indices."""
    scores: np.ndarray
    """Beside them, float64; comparable within one answer."""


def resolve(request: Request, bundle: Bundle) -> Query:
    """Finds out who and what a request names.

    A history that holds a known item is what counts, whoever the user is; else what the known user did; else the
    request is a stranger's. Items that are not in the catalogue are counted, whatever the answer is from.

    Raises:
        RecommendError: `k` is below 1, or `seq_end` is not within what the user has done.
    """
    if request.k < 1:
        raise RecommendError(f"expected at least 1, got {request.k}", "k")
    given = [] if request.history is None else [bundle.item_index.get(item, 0) for item in request.history]
    if given and request.seq_end is not None:
        raise RecommendError("is for a user_id without a history; shorten the history instead", "seq_end")
    known = np.array([item for item in given if item], dtype=np.int64)
    if len(known):
        return _make_query(request, bundle, HISTORY, 0, known, len(given) - len(known))
    user = 0 if request.user_id is None else bundle.user_index.get(request.user_id, 0)
    start, end = (int(row) for row in bundle.histories.offsets[user : user + 2])
    if request.seq_end is not None:
        end = start + _check_horizon(request.seq_end, end - start, request.user_id)
    items = bundle.histories.items[start:end]
    return _make_query(request, bundle, USER if user else FALLBACK, user, items, len(given))


def _make_query(
    request: Request, bundle: Bundle, source: Source, user: int, items: np.ndarray, unknown_items: int
) -> Query:
    k = min(request.k, bundle.num_items)
    return Query(source, user, items, request.seq_end, k, request.exclude_seen, unknown_items)


def _check_horizon(seq_end: int, most: int, user_id: str | None) -> int:
    if not 1 <= seq_end <= most:
        who = "a stranger" if user_id is None else f"user {user_id!r}"
        if not most:
            raise RecommendError(f"{who} has no interactions here, so expected none, got {seq_end}", "seq_end")
        raise RecommendError(f"expected 1 to the {most} interactions that {who} has here, got {seq_end}", "seq_end")
    return seq_end
