"""The MLflow model folder: models-from-code, a bundle, the library's sources, pinned requirements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ur4rec.columns import USER_ID
from ur4rec.recommender.bundle import Bundle, load_bundle
from ur4rec.recommender.recommender import COLUMNS
from ur4rec.recommender.requests import HISTORY
from ur4rec.registry.mlflow_client import prepare_mlflow
from ur4rec.registry.served_code import BUNDLE, copy_sources
from ur4rec.storage.temporaries import scratch_folder

if TYPE_CHECKING:
    from mlflow.models import Model, ModelSignature

CODE_FILE = "pyfunc_model.py"
EXAMPLE_HISTORY = 3
REQUIREMENTS = "requirements.txt"
"""This file holds lines of `requirements.lock`: the distributions that serving imports. All else needs more."""


def save_model_package(bundle: Path, folder: Path, model: Model) -> None:
    """Write a folder that `mlflow.pyfunc.load_model` reads, without pickle and without inference of requirements.

    The sources of `ur4rec` that serving needs go along, so the model loads where the package is not installed. MLflow's
    description has the ids of the run and of the logged model.
    """
    prepare_mlflow()
    import mlflow.pyfunc

    loaded = load_bundle(bundle)
    with scratch_folder("code") as scratch:
        mlflow.pyfunc.save_model(
            str(folder),
            python_model=str(Path(__file__).with_name(CODE_FILE)),
            artifacts={BUNDLE: str(bundle)},
            code_paths=[str(copy_sources(scratch))],
            signature=_make_signature(loaded),
            input_example=(_make_example(loaded), {"k": 5, "exclude_seen": loaded.excludes_seen}),
            pip_requirements=list_requirements(),
            metadata={name: loaded.manifest.details[name] for name in ("dataset_digest", "training_cutoff_s")},
            mlflow_model=model,
        )


def _make_signature(bundle: Bundle) -> ModelSignature:
    """Name the columns and parameters of the served model; what a request leaves out is as the model was made.

    The model reads the columns itself: MLflow's own types would refuse whole numbers and categories as ids, and turn
    a missing id into the text "None".
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    any_type = AnyType()  # type: ignore[no-untyped-call]
    inputs: list[ColSpec | TensorSpec] = [ColSpec(any_type, name, required=False) for name in (USER_ID, HISTORY)]
    kinds = {"request": DataType.long, "rank": DataType.long, "score": DataType.double}
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(kinds.get(name, DataType.string), name, required=name != USER_ID) for name in COLUMNS
    ]
    rule = ParamSpec("exclude_seen", DataType.boolean, bundle.excludes_seen)
    parameters = [ParamSpec("k", DataType.long, 10), rule]
    return ModelSignature(Schema(inputs), Schema(outputs), ParamSchema(parameters))


def _make_example(bundle: Bundle) -> pd.DataFrame:
    """Ask for one known user, one inline history, one unknown user."""
    known = next(iter(bundle.user_index))
    history = [str(bundle.item_ids[index]) for index in bundle.fallback_order[:EXAMPLE_HISTORY]]
    users = pd.Series([known, None, "a user never seen"], dtype=object)  # None is JSON's null, NaN is nothing
    return pd.DataFrame({USER_ID: users, HISTORY: [None, history, None]})


def list_requirements() -> list[str]:
    """Name the exact versions of what serving imports, as the lock file has them, whatever is installed here."""
    return Path(__file__).with_name(REQUIREMENTS).read_text(encoding="utf-8").split()
