"""Models that earlier code registered are read, judged and served: bundle, records, and MLflow beside this package."""

import json
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from present import present
from toy_runs import Registered, Trained
from typer.testing import CliRunner

from ur4rec.cli import app
from ur4rec.data.sequences import load_sequences
from ur4rec.recommender.bundle import load_bundle
from ur4rec.recommender.memories import memory_statistics
from ur4rec.recommender.recommender import Recommender
from ur4rec.registry.champion.history import read_history
from ur4rec.registry.gate.measurements import LoadedModel, measure_quality
from ur4rec.registry.gate.verdict import load_verdict
from ur4rec.registry.mlflow_client import open_mlflow
from ur4rec.registry.register import load_registration
from ur4rec.registry.warm_start import open_warm_start
from ur4rec.storage.artifacts import sha256_file

pytest_plugins = ["trained_toys"]

ARRAYS: dict[str, dict[str, tuple[int | None, ...]]] = {
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
REGISTRATION = """{
  "name": "ur4rec",
  "version": "1",
  "alias": "challenger",
  "run_id": "6dc4afd0daa54daf8b7625fa22e72a97",
  "model_uri": "models:/ur4rec/1",
  "tracking_uri": "http://mlflow.example"
}
"""
VERDICT = """{
  "verdict": "failed",
  "model_name": "ur4rec",
  "challenger": "1",
  "champion": "none",
  "anchor": "none",
  "decided_at": "2026-11-30T12:01:55+00:00",
  "test_digest": "572739996e5d55407687948599841b2db7eac86af5e4ea8ed875c473b9fa73f0",
  "population": "unseen",
  "num_users": 30,
  "rules_digest": "872e83d91eeb6c9eb16e6c07562e7df261eaed9d3f596b5833a898b0c6222018",
  "rules": {
    "test_digest": null,
    "min_users": 200,
    "margin_by_users": {
      "0": 0.08,
      "2000": 0.05
    }
  },
  "outcomes": [
    {
      "rule": "test_data",
      "outcome": "skipped: no digest is pinned, it is only recorded",
      "value": null,
      "threshold": null,
      "detail": ""
    },
    {
      "rule": "floor",
      "outcome": "passed",
      "value": 0.3235956887576557,
      "threshold": 0.01,
      "detail": "ndcg@10 of the challenger"
    }
  ],
  "notes": [
    "challenger version 1: NDCG@10 0.3236; knows 24 of 24 items"
  ]
}
"""
RECORD = (
    '{"kind":"promotion","version":"1","previous":"","at":"2026-11-30 12:01:55 UTC","by":"ann@host","reason":"first",'
    '"verdict":"passed","steps":0,"token":"0123456789abcdef"}'
)
REQUEST = pd.DataFrame({"user_id": ["u03", None, "stranger"], "history": [None, ["i05", "i06"], None]})


@pytest.fixture
def earlier(bundle: Path, tmp_path: Path) -> Path:
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


def test_a_bundle_holds_today_what_it_held_before(bundle: Path) -> None:
    assert sorted(path.name for path in bundle.iterdir()) == sorted([*FILES, "manifest.json"])
    for file, arrays in ARRAYS.items():
        with np.load(bundle / file, allow_pickle=False) as loaded:
            assert sorted(loaded.files) == sorted(arrays)
            for name, shape in arrays.items():
                assert loaded[name].dtype == np.int64
                assert loaded[name].shape == tuple(size or len(loaded["items"]) for size in shape)
    details = json.loads((bundle / "manifest.json").read_text())["details"]
    assert details["dataset"] == "plays"  # the file's name; earlier code called any data ml-100k
    assert details | {name: DETAILS[name] for name in ("dataset", "dataset_digest")} == DETAILS


def test_an_earlier_bundle_is_read_by_everyone(earlier: Path, bundle: Path, trained: Trained) -> None:
    assert load_bundle(earlier).extent.cutoff_s == 1030180
    assert memory_statistics(earlier) == memory_statistics(bundle)
    assert present(open_warm_start(str(earlier))).digest == load_bundle(earlier).manifest.content_digest
    data = load_sequences(trained.sequences)
    model = LoadedModel(earlier)
    quality = measure_quality(data, np.arange(len(data.test)), model.scorer(data, data.histories("test")))
    assert len(quality.ndcg) == 30
    done = CliRunner().invoke(app, ["recommend", "--user", "u03", "-k", "2", "--model", str(earlier)])
    assert (done.exit_code, "user u03 (source: user)" in done.output) == (0, True)


def test_earlier_records_are_read_and_written_again_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(REGISTRATION)
    assert load_registration(path).model_dump_json(indent=2) + "\n" == REGISTRATION
    path.write_text(VERDICT)
    assert load_verdict(path).to_json() == VERDICT
    history = read_history("ur4rec", {"ur4rec.promotion.000001": RECORD}, "1")
    assert history.moves[1].model_dump_json() == RECORD
    assert history.champions == ["1"]


@pytest.mark.parametrize("source", [FIRST_MODEL, LAST_MODEL])
def test_mlflow_loads_an_earlier_model_beside_this_package(registered: Registered, tmp_path: Path, source: str) -> None:
    """MLflow does not load the model's own sources where a package of their name is loaded already."""
    with open_mlflow(registered.tracking_uri, read_only=True):
        folder = Path(mlflow.artifacts.download_artifacts(registered.registration.model_uri, dst_path=str(tmp_path)))
    (folder / "pyfunc_model.py").write_text(source)
    shutil.rmtree(folder / "code/ur4rec/recommender")
    table = mlflow.pyfunc.load_model(str(folder)).predict(REQUEST, params={"k": 2})
    ours = Recommender.load(folder / "artifacts/bundle")
    expected = ours.recommend(list(REQUEST["user_id"]), list(REQUEST["history"]), k=2)
    assert table.to_dict(orient="records") == expected.to_dict(orient="records")
