"""Requests: read from whatever form a table holds them in, and checked against a bundle in dense indices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeGuard

import numpy as np
import pandas as pd

from ur4rec.columns import USER_ID
from ur4rec.recommender.bundle import Bundle

EXACT = 2**53
"""From here on not every whole number is a float, so another id may have been meant."""
NOTHING = np.empty(0, dtype=np.int64)
Source = Literal["user", "history", "item", "fallback"]
USER: Source = "user"
HISTORY: Source = "history"
ITEM: Source = "item"
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
    """The user is scored after this many interactions; None: after all of them."""
    k: int = 10
    exclude_seen: bool | None = None
    """Leave out what the history holds; None: if the model does so."""
    allow: Sequence[str] | None = None
    """Recommend only these items; None: any."""
    deny: Sequence[str] = ()
    """Recommend none of these items."""
    similar_to: str | None = None
    """The item that others are compared with, instead of a user or a history."""


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
    allowed: np.ndarray | None = None
    """Dense indices of what may be recommended; None: everything."""
    denied: np.ndarray = field(default_factory=lambda: NOTHING)
    """Dense indices of what may not."""

    @property
    def left_out(self) -> np.ndarray:
        """Dense indices of what is never in the answer."""
        seen = self.items if self.exclude_seen else self.items[:0]
        return np.concatenate([seen, self.denied]) if len(self.denied) else seen


@dataclass(frozen=True)
class Answer:
    """What a query gets, best first; fewer than `k` where fewer are left."""

    query: Query
    items: np.ndarray
    """Dense item indices."""
    scores: np.ndarray
    """One an item, float64; comparable within one answer."""


def resolve(request: Request, bundle: Bundle) -> Query:
    """Find out who and what a request names.

    A history that holds a known item is what counts, whoever the user is; else what the known user did; else the
    request is a stranger's. Items that are not in the catalogue are counted, whatever the answer is from. Those that
    are allowed or denied are passed over.

    Raises:
        RecommendError: `k` is below 1, `seq_end` is not within what the user has done, or `similar_to` is not in the
            catalogue or not alone.
    """
    if request.k < 1:
        raise RecommendError(f"expected at least 1, got {request.k}", "k")
    allowed = None if request.allow is None else _find_known(request.allow, bundle)
    denied = _find_known(request.deny, bundle) if request.deny else NOTHING
    if request.similar_to is not None:
        item = np.array([_find_item(request, bundle)])
        return Query(ITEM, 0, item, None, min(request.k, bundle.num_items), True, 0, allowed, denied)
    given = [bundle.item_index.get(item, 0) for item in request.history or ()]
    if given and request.seq_end is not None:
        raise RecommendError("is for a user_id without a history; shorten the history instead", "seq_end")
    known = np.array([item for item in given if item], dtype=np.int64)
    k, exclude_seen = min(request.k, bundle.num_items), request.exclude_seen
    if exclude_seen is None:
        exclude_seen = bundle.excludes_seen
    if len(known):
        return Query(HISTORY, 0, known, None, k, exclude_seen, len(given) - len(known), allowed, denied)
    user = 0 if request.user_id is None else bundle.user_index.get(request.user_id, 0)
    start, end = (int(row) for row in bundle.histories.offsets[user : user + 2])
    if request.seq_end is not None:
        end = start + _check_horizon(request.seq_end, end - start, request.user_id)
    items = bundle.histories.items[start:end]
    source = USER if user else FALLBACK
    return Query(source, user, items, request.seq_end, k, exclude_seen, len(given), allowed, denied)


def _find_item(request: Request, bundle: Bundle) -> int:
    if (request.user_id, request.history, request.seq_end) != (None, None, None):
        raise RecommendError("is for a request without user_id, history and seq_end", "similar_to")
    assert request.similar_to is not None
    if request.similar_to not in bundle.item_index:
        raise RecommendError(f"item {request.similar_to!r} is not in the catalogue; expected one that is", "similar_to")
    return bundle.item_index[request.similar_to]


def _find_known(item_ids: Sequence[str], bundle: Bundle) -> np.ndarray:
    found = (bundle.item_index.get(item, 0) for item in item_ids)
    return np.array([item for item in found if item], dtype=np.int64)


def _check_horizon(seq_end: int, most: int, user_id: str | None) -> int:
    if not 1 <= seq_end <= most:
        who = "a stranger" if user_id is None else f"user {user_id!r}"
        if not most:
            raise RecommendError(f"{who} has no interactions here, so expected none, got {seq_end}", "seq_end")
        raise RecommendError(f"expected 1 to the {most} interactions that {who} has here, got {seq_end}", "seq_end")
    return seq_end


def read_columns(table: pd.DataFrame) -> tuple[list[object] | None, list[object] | None]:
    """Return users and histories, one a request; None where there is no such column.

    A mapping of columns to lists of texts may have become one row that has the lists as its cells.
    """
    users, histories = (list(table[name]) if name in table else None for name in (USER_ID, HISTORY))
    if users is None or len(users) != 1 or not _is_list(users[0]):
        return users, histories
    return list(users[0]), None if histories is None or _is_missing(histories[0]) else list(histories[0])


def read_user(value: object, row: int) -> str | None:
    """Return a user id, or None where there is none.

    Raises:
        RecommendError: It is neither text nor a whole number.
    """
    value = _unpack(value)
    return None if _is_missing(value) else _read_id(value, f"row {row}", USER_ID)


def read_history(value: object, row: int) -> list[str] | None:
    """Return item ids, or None where there is no history.

    Raises:
        RecommendError: It is no list of texts or whole numbers.
    """
    return read_item_ids(value, HISTORY, f"row {row}")


def read_item_ids(value: object, field: str, row: str = "") -> list[str] | None:
    """Return item ids, or None where there are none; `field` and `row` say whose, in an error.

    Raises:
        RecommendError: It is no list of texts or whole numbers.
    """
    value = _unpack(value)
    if _is_missing(value):
        return None
    if not _is_list(value):
        raise RecommendError(f"{row}{': ' if row else ''}expected a list of item ids, got {value!r}", field)
    places = f"{row}{', ' if row else ''}place"
    return [_read_id(_unpack(item), f"{places} {place}", field) for place, item in enumerate(value)]


def _unpack(value: object) -> object:
    """Return what an array without dimensions holds."""
    return value.item() if isinstance(value, np.ndarray | np.generic) and value.ndim == 0 else value


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list | tuple | pd.Series) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def _read_id(value: object, where: str, field: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        return str(int(value))  # whole numbers beside a missing value become floats in pandas
    raise RecommendError(f"{where}: expected text or a whole number, got {value!r}", field)
