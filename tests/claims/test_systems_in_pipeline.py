"""Every system goes through the compiled pipeline, with `kfp.local`, to the model that `ur4rec train` makes."""

from __future__ import annotations

import json
import random
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from kfp.dsl.executor import Executor
from kfp.local import cache as kfp_cache
from kfp.local import subprocess_task_handler
from kfp.local.orchestrator import task_spec_utils

from pipelines import local_executor
from pipelines.arguments import build_arguments
from pipelines.compilation import PIPELINE_FILE
from pipelines.inputs import Inputs, Tracking
from pipelines.local_executor import Request
from pipelines.local_run import Outcome
from pipelines.summary import export_run
from ur4rec.config import Config, load_config
from ur4rec.evaluation.results import load_results
from ur4rec.local import train_all
from ur4rec.models.config import System
from ur4rec.models.saved_model import FINAL_MODEL
from ur4rec.models.tensor_files import read_tensors
from ur4rec.registry.champion.retrain import RetrainOutcome
from ur4rec.registry.fetch import fetch_bundle
from ur4rec.registry.register import load_registration
from ur4rec.training.config import stages_of

pytest_plugins = ["trained_toys"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.filterwarnings("ignore:.*no effect in the current local runner"),
]
RULES = {"min_users": 5, "floor_times_popularity": 0, "max_latency_ms": 1e9, "margin_by_users": {"0": 0.1}}
SETTINGS = {"epochs_per_stage": 1, "bootstrap_samples": 100, "promote_automatically": True}


def call_here(full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
    """A task in this process: as another one it would spend its time on imports."""
    values = dict(pairwise(full_command))
    name = values["--function_to_execute"]
    function = getattr(import_module(f"components.{name}"), name).python_func
    Executor(executor_input=json.loads(values["--executor_input"]), function_to_execute=function).execute()
    return 0


@pytest.fixture
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_executor, "run_local_subprocess", call_here)
    for module, name in (
        (kfp_cache, "get_local_cache"),
        (subprocess_task_handler, "run_local_subprocess"),
        (task_spec_utils, "create_parameter_loop_iteration_task_spec"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))  # so that it is as before afterwards


@pytest.fixture
def inputs(tmp_path: Path, tracking_uri: str) -> Inputs:
    draw = random.Random(3)
    rows = [f"u{user},i{item},{10**9 + item}" for user in range(24) for item in draw.sample(range(20), 12)]
    (tmp_path / "plays.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    return Inputs(str(tmp_path / "plays.csv"), device="cpu", tracking=Tracking(tracking_uri), gate_rules=RULES)


def run_pipeline(folder: Path, config: Config, inputs: Inputs) -> dict[str, Path]:
    request = Request(
        pipeline=PIPELINE_FILE,
        arguments=build_arguments(config, inputs),
        pipeline_root=folder / "root",
        cache=folder / "cache",
        outputs=folder / "outputs.json",
    )
    return {name: Path(place) for name, place in local_executor.execute(request).items()}


def read_promotion(outputs: dict[str, Path]) -> RetrainOutcome:
    return RetrainOutcome.model_validate_json(outputs["promotion"].read_bytes())


@pytest.mark.usefixtures("_in_this_process")
def test_every_system_ends_in_the_registered_model_that_train_makes(tmp_path: Path, inputs: Inputs) -> None:
    """One after the other: what they share is taken from the cache, and each challenges the one before."""
    made: dict[System, dict[str, Path]] = {}
    for number, system in enumerate(System, start=1):
        config = load_config("toy", SETTINGS | {"system": system})
        outputs = made[system] = run_pipeline(tmp_path, config, inputs)
        target = tmp_path / "trained" / system
        trained = train_all(outputs["sequences"], outputs["embeddings"], target, config, "cpu")
        results = load_results(outputs["results"])
        assert next(iter(results.test)) == system
        for part in ("test", "validation", "lists", "slices", "differences", "memory"):
            assert getattr(results, part) == getattr(trained.results, part), part
        assert {name: results.config[name] for name in trained.results.config} == trained.results.config
        assert set(results.timings_s) == {*trained.results.timings_s, "generate_text"}
        registration = load_registration(outputs["registration"])
        assert registration.version == str(number)
        with fetch_bundle(registration.model_uri, inputs.tracking.uri) as bundle:
            registered, own = (read_tensors(folder / FINAL_MODEL) for folder in (bundle, trained.checkpoint))
        assert registered.keys() == own.keys()
        assert all(torch.equal(registered[name], own[name]) for name in own)
        assert read_promotion(outputs).name == "ur4rec"
        exported = export_run(Outcome([], outputs, 1.0), tmp_path / "out")
        expected = {file.name for file in trained.files} | {"registration.json", "verdict.json", "promotion.json"}
        assert {file.name for file in exported if "tfevents" not in file.name} == {
            name for name in expected if "tfevents" not in name
        }
        assert len(list((tmp_path / "out").glob("*_best.pt"))) == len(stages_of(config))
    first, second, third = made.values()
    assert first["embeddings"] == second["embeddings"] == third["embeddings"]
    assert first["pretrain_sasrec"] == second["pretrain_sasrec"] != third["pretrain_sasrec"]


@pytest.mark.usefixtures("_in_this_process")
def test_a_system_starts_from_a_version_of_another_one_that_has_sasrec(tmp_path: Path, inputs: Inputs) -> None:
    """Trained on what came before the last interactions of all users, and promoted."""
    older = load_config("toy", SETTINGS | {"system": System.V2, "drop_last": 2})
    assert read_promotion(run_pipeline(tmp_path, older, inputs)).ending == "promoted"
    newer = load_config("toy", SETTINGS | {"warm_start": "champion"})
    outputs = run_pipeline(tmp_path, newer, inputs)
    history: dict[str, Any] = json.loads((outputs["end_to_end"] / "history.json").read_bytes())
    assert history["warm_start"]["name"] == "models:/ur4rec/1"
