"""The served model as MLflow runs it: this file is copied into the registered model.

Columns: `user_id` (string, optional), `history` (list of strings, optional; original item ids in order of time).
Parameters: `k`, `exclude_seen`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class ServedRecommender(PythonModel):
    """`Recommender` behind MLflow's predict interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Loads the bundle that was logged with the model."""
        from ur4rec.registry.recommender import Recommender

        self.recommender = Recommender.load(Path(context.artifacts["bundle"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """The DataFrame of `Recommender.recommend`; `request` is the row of the input."""
        options = params or {}
        return self.recommender.recommend(
            _column(model_input, "user_id"),
            _column(model_input, "history"),
            k=int(options.get("k", 10)),
            exclude_seen=bool(options.get("exclude_seen", True)),
        )


def _column(table: pd.DataFrame, name: str) -> list[Any] | None:
    if name not in table:
        return None
    # A missing value is None or NaN; a history is a list or an array.
    return [None if pd.api.types.is_scalar(value) and pd.isna(value) else value for value in table[name]]


set_model(ServedRecommender())
