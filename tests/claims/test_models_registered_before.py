"""Models that earlier code registered are read, judged and served: their bundle, and MLflow beside this package."""

import json
import shutil
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from ur4rec.cli import app
from ur4rec.data.sequences import load_sequences
from ur4rec.recommender.bundle import load_bundle
from ur4rec.recommender.memories import memory_statistics
from ur4rec.recommender.recommender import Recommender
from ur4rec.registry.gate.measurements import LoadedModel, measure_quality
from ur4rec.registry.warm_start import open_warm_start
from ur4rec.storage.artifacts import sha256_file

pytest_plugins = ["trained_toys"]

ARRAYS = {
    "histories.npz": {"offsets": (32,), "items": (None,), "timestamps": (None,), "training_lengths": (31,)},
    "popularity.npz": {"recent": (25,), "total": (25,)},
}
"""int64, of 30 users and 24 items."""
FILES = [
    *ARRAYS,
    "final_model.pt",
    "item_map.json",
    "items.parquet",
    "memories.pt",
    "model_config.json",
    "user_map.json",
]
DETAILS = {
    "dataset": "ml-100k",
    "dataset_digest": "572739996e5d55407687948599841b2db7eac86af5e4ea8ed875c473b9fa73f0",
    "num_users": 30,
    "num_items": 24,
    "num_interactions": 233,
    "training_cutoff_s": 1030180,
    "selection_cutoff_s": 1030240,
    "warm_start": "",
}

FIRST_MODEL = """
from pathlib import Path

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class ServedRecommender(PythonModel):
    def load_context(self, context):
        from ur4rec.registry.recommender import Recommender

        self.recommender = Recommender.load(Path(context.artifacts["bundle"]))

    def predict(self, context, model_input, params=None):
        options = params or {}
        return self.recommender.recommend(
            _column(model_input, "user_id"),
            _column(model_input, "history"),
            k=int(options.get("k", 10)),
            exclude_seen=bool(options.get("exclude_seen", True)),
        )


def _column(table, name):
    if name not in table:
        return None
    return [None if pd.api.types.is_scalar(value) and pd.isna(value) else value for value in table[name]]


set_model(ServedRecommender())
"""
LAST_MODEL = """
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel


class ServedRecommender(PythonModel):
    def load_context(self, context):
        from ur4rec.registry.recommender import Recommender

        self.recommender = Recommender.load(Path(context.artifacts["bundle"]))

    def predict(self, context, model_input, params=None):
        from ur4rec.registry.recommender import RecommendError
        from ur4rec.registry.request_table import read_columns

        options = {"k": 10, "exclude_seen": True, **(params or {})}
        try:
            return self.recommender.recommend(
                *read_columns(model_input), int(options["k"]), bool(options["exclude_seen"])
            )
        except RecommendError as error:
            raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from None


set_model(ServedRecommender())
"""
REQUEST = pd.DataFrame({"user_id": ["u03", None, "stranger"], "history": [None, ["i05", "i06"], None]})


@pytest.fixture
def earlier(bundle, tmp_path) -> Path:
    """The bundle with the manifest that earlier code wrote."""
    folder = tmp_path / "bundle"
    shutil.copytree(bundle, folder)
    manifest = {
        "schema_version": 1,
        "producer": "bundle",
        "config": {"recent_quantile": 0.8},
        "config_digest": "61730555711a1d84bee96a4e5c2db5a57dd1db3867306126b91cbe9aa08f95aa",
        "files": {name: sha256_file(folder / name) for name in FILES},
        "inputs": {"sequences": "0" * 64, "checkpoint": "1" * 64},
        "details": DETAILS,
        "seconds": 0.074,
        "peak_memory_mb": 652.7,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2))
    return folder


def test_a_bundle_holds_today_what_it_held_before(bundle):
    assert sorted(path.name for path in bundle.iterdir()) == sorted([*FILES, "manifest.json"])
    for file, arrays in ARRAYS.items():
        with np.load(bundle / file, allow_pickle=False) as loaded:
            assert sorted(loaded.files) == sorted(arrays)
            for name, shape in arrays.items():
                assert loaded[name].dtype == np.int64
                assert loaded[name].shape == tuple(size or len(loaded["items"]) for size in shape)
    details = json.loads((bundle / "manifest.json").read_text())["details"]
    assert details | {"dataset_digest": DETAILS["dataset_digest"]} == DETAILS


def test_an_earlier_bundle_is_read_by_everyone(earlier, bundle, trained):
    assert load_bundle(earlier).extent.cutoff_s == 1030180
    assert memory_statistics(earlier) == memory_statistics(bundle)
    assert open_warm_start(str(earlier)).digest == load_bundle(earlier).manifest.content_digest
    data = load_sequences(trained.sequences)
    model = LoadedModel(earlier)
    quality = measure_quality(data, np.arange(len(data.test)), model.scorer(data, data.histories("test")))
    assert len(quality.ndcg) == 30
    done = CliRunner().invoke(app, ["recommend", "--user", "u03", "-k", "2", "--model", str(earlier)])
    assert (done.exit_code, "user u03 (source: user)" in done.output) == (0, True)


@pytest.mark.parametrize("source", [FIRST_MODEL, LAST_MODEL])
def test_mlflow_loads_an_earlier_model_beside_this_package(registered, tmp_path, source):
    """MLflow does not load the model's own sources where a package of their name is loaded already."""
    (written,) = registered.folder.glob("mlflow/mlartifacts/models/*/artifacts")
    folder = tmp_path / "model"
    shutil.copytree(written, folder)
    (folder / "pyfunc_model.py").write_text(source)
    shutil.rmtree(folder / "code/ur4rec/recommender")
    table = mlflow.pyfunc.load_model(str(folder)).predict(REQUEST, params={"k": 2})
    ours = Recommender.load(folder / "artifacts/bundle")
    expected = ours.recommend(list(REQUEST["user_id"]), list(REQUEST["history"]), k=2)
    assert table.to_dict(orient="records") == expected.to_dict(orient="records")
