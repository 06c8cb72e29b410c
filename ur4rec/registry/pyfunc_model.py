"""The served model as MLflow runs it: this file is copied into the registered model.

Columns: `user_id` (optional), `history` (optional; a list of original item ids in order of time). Ids are text or whole
numbers; a column may be of any type, so that what holds them needs no conversion. Parameters: `k`, `exclude_seen`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class ServedRecommender(PythonModel):
    """`Recommender` behind MLflow's predict interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle that was logged with the model."""
        from ur4rec.recommender.recommender import Recommender

        self.recommender = Recommender.load(Path(context.artifacts["bundle"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return the DataFrame of `Recommender.recommend`; `request` is the row of the input.

        Raises:
            MlflowException: The request cannot be answered; MLflow's server says why, without a traceback.
        """
        from ur4rec.recommender.requests import RecommendError, read_columns

        options = {"k": 10, "exclude_seen": self.recommender.bundle.excludes_seen, **(params or {})}
        try:
            return self.recommender.recommend(
                *read_columns(model_input), int(options["k"]), bool(options["exclude_seen"])
            )
        except RecommendError as error:
            raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from None


set_model(ServedRecommender())
