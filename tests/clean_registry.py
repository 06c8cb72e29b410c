"""Surroundings in which a test's MLflow is its own."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from ur4rec.registry.mlflow_client import open_mlflow


@contextmanager
def clean_environment(folder: Path) -> Iterator[None]:
    """No MLflow settings of the machine, pickle refused, no pauses between attempts, `folder` as working directory."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_REGISTRY_URI", "KFP_RUN_ID", "UR4REC_RUN_ID"):
            patch.delenv(name, raising=False)
        patch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
        patch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
        patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        patch.chdir(folder)
        yield


def copy_database(empty_database: Path, folder: Path) -> str:
    (folder / "mlflow").mkdir()
    shutil.copyfile(empty_database, folder / "mlflow/mlflow.db")
    return f"sqlite:///{folder}/mlflow/mlflow.db"


def ask_mlflow(address: str, request: pd.DataFrame, params: dict[str, object], tracking_uri: str) -> pd.DataFrame:
    """What MLflow answers that loads the model itself."""
    with open_mlflow(tracking_uri, read_only=True):
        import mlflow.pyfunc

        answer: pd.DataFrame = mlflow.pyfunc.load_model(address).predict(request, params=params)
        return answer
