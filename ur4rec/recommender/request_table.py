"""Requests in whatever form a table holds them, with ids as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
import pandas as pd

from ur4rec.columns import USER_ID
from ur4rec.recommender.requests import RecommendError

EXACT = 2**53
"""From here on not every whole number is a float, so another id may have been meant."""
HISTORY = "history"


def read_columns(table: pd.DataFrame) -> tuple[list[object] | None, list[object] | None]:
    """Users and histories, one a request; None where there is no such column.

    Of a mapping of columns to lists of texts MLflow makes one row, with the lists as its cells.
    """
    users, histories = (list(table[name]) if name in table else None for name in (USER_ID, HISTORY))
    if users is None or len(users) != 1 or not _is_list(users[0]):
        return users, histories
    return list(users[0]), None if histories is None or _is_missing(histories[0]) else list(histories[0])


def read_user(value: object, row: int) -> str | None:
    """A user id; None where there is none.

    Raises:
        RecommendError: It is neither text nor a whole number.
    """
    value = _unpack(value)
    return None if _is_missing(value) else _read_id(value, f"row {row}", USER_ID)


def read_history(value: object, row: int) -> list[str] | None:
    """Item ids; None where there is no history.

    Raises:
        RecommendError: It is no list of texts or whole numbers.
    """
    value = _unpack(value)
    if _is_missing(value):
        return None
    if not _is_list(value):
        raise RecommendError(f"row {row}: expected a list of item ids, got {value!r}", HISTORY)
    return [_read_id(_unpack(item), f"row {row}, place {place}", HISTORY) for place, item in enumerate(value)]


def _unpack(value: object) -> object:
    """What an array without dimensions holds."""
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
