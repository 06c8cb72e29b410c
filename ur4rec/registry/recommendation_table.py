"""Answers as the table that MLflow's model and the command line show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ur4rec.columns import ITEM_ID, TITLE, USER_ID
from ur4rec.registry.bundle import Bundle
from ur4rec.registry.queries import Answer

COLUMNS = ("request", USER_ID, "rank", ITEM_ID, TITLE, "score", "source")
UNKNOWN_ITEMS = "unknown_items"
"""Attribute of the table: request number → items of its history that are not in the catalogue."""


def tabulate(bundle: Bundle, user_ids: Sequence[str | None], answers: Sequence[Answer]) -> pd.DataFrame:
    """One row a recommendation.

    Args:
        bundle: Ids and titles.
        user_ids: Of each request, as it was given.
        answers: Of each request.
    """
    lengths = [len(answer.items) for answer in answers]
    items = _join([answer.items for answer in answers], np.int64)
    users = np.repeat(np.array(user_ids, dtype=object), lengths)
    sources = np.array([answer.query.source for answer in answers], dtype=object)
    columns = {
        "request": np.repeat(np.arange(len(answers)), lengths),
        USER_ID: pd.Series(users, dtype=object),  # a string column would turn None into NaN, which is no JSON
        "rank": _join([np.arange(1, length + 1) for length in lengths], np.int64),
        ITEM_ID: bundle.item_ids[items],
        TITLE: bundle.titles[items],
        "score": _join([answer.scores for answer in answers], np.float64),
        "source": np.repeat(sources, lengths),
    }
    table = pd.DataFrame(columns)
    table.attrs[UNKNOWN_ITEMS] = {
        number: answer.query.unknown_items for number, answer in enumerate(answers) if answer.query.unknown_items
    }
    return table


def _join(parts: list[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    return np.concatenate(parts).astype(dtype) if parts else np.empty(0, dtype=dtype)
