"""Toy data sets for the tests that read or write texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import pytest

Row = tuple[object, object, int]
BuildSequences = Callable[..., Path]


@pytest.fixture
def build_sequences(tmp_path: Path) -> BuildSequences:
    """Preprocesses rows of (user, item, timestamp) with an optional item table."""

    def build(rows: Iterable[Row], items: pd.DataFrame | None = None, **config: object) -> Path:
        from ur4rec.data.config import DataConfig
        from ur4rec.data.preprocess import preprocess_sequences

        number = len(list(tmp_path.glob("sequences*")))
        interactions = tmp_path / f"interactions{number}.csv"
        pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(interactions, index=False)
        table = None
        if items is not None:
            table = tmp_path / f"items{number}.csv"
            items.to_csv(table, index=False)
        output = tmp_path / f"sequences{number}"
        preprocess_sequences(interactions, output, DataConfig.parse(config), items=table)
        return output

    return build
