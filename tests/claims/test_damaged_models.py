"""A model that cannot have been trained is refused by name wherever it is read: served, judged, registered."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from digests import digest_again
from toy_runs import Registered, Trained
from typer.testing import CliRunner

from ur4rec.cli import app
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.evaluation.evaluate import evaluate
from ur4rec.models.tensor_files import TensorFileError
from ur4rec.recommender.bundle import load_bundle, write_bundle
from ur4rec.recommender.memories import describe_user, memory_statistics
from ur4rec.recommender.recommender import Recommender
from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.fetch import open_recommender
from ur4rec.registry.gate.measurements import LoadedModel, UnscorableError
from ur4rec.registry.mlflow_client import open_mlflow
from ur4rec.registry.register import register_model
from ur4rec.registry.served_code import BUNDLE_PATH
from ur4rec.registry.warm_start import open_warm_start
from ur4rec.serving.identity import open_served
from ur4rec.storage.artifacts import ArtifactError
from ur4rec.training.checkpoints import CheckpointError
from ur4rec.training.warm_start import WarmStartError

pytest_plugins = ["trained_toys"]

Change = Callable[[Any], Any]
WEIGHTS, MEMORIES = "final_model.pt", "memories.pt"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, trained: Trained) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "bundle"
    write_bundle(trained.sequences, trained.checkpoint, path)
    return path


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "bundle")


def spoil(folder: Path, name: str, tensor: str | None = None, value: float = float("nan")) -> str:
    """One number of one tensor, vouched for by the manifest if there is one; returns the tensor's name."""
    state = torch.load(folder / name, weights_only=True)
    tensor = tensor or next(key for key, each in state.items() if each.is_floating_point() and each.numel())
    state[tensor].view(-1)[-1] = value
    torch.save(state, folder / name)
    if (folder / "manifest.json").is_file():
        digest_again(folder)
    return tensor


def serve(folder: Path) -> None:
    with open_served(str(folder)):
        pass


Read = Callable[[Path], object]
DESCRIBING: list[Read] = [memory_statistics, lambda folder: describe_user(folder, "u03")]
SERVING: list[Read] = [Recommender.load, open_recommender, serve, LoadedModel, *DESCRIBING]
STARTING: list[Read] = [lambda folder: open_warm_start(str(folder))]
REFUSALS = (TensorFileError, UnscorableError, WarmStartError, CheckpointError)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", [WEIGHTS, MEMORIES])
def test_numbers_that_are_none_are_refused_by_every_reader_of_a_bundle(bundle: Path, name: str, value: float) -> None:
    tensor = spoil(bundle, name, value=value)
    for read in SERVING + (STARTING if name == WEIGHTS else []):
        with pytest.raises(REFUSALS, match=rf"{name}: {tensor}: holds NaN or an infinity"):
            read(bundle)


@pytest.mark.parametrize("arguments", [["recommend", "--user", "u03"], ["memory", "stats"], ["serve", "--port", "0"]])
def test_commands_say_so_in_one_line(bundle: Path, arguments: list[str]) -> None:
    tensor = spoil(bundle, WEIGHTS)
    result = CliRunner().invoke(app, [*arguments, "--model", str(bundle)])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert f"{bundle / WEIGHTS}: {tensor}: holds NaN or an infinity" in result.stderr


@pytest.mark.parametrize(
    ("tensor", "change", "message"),
    [
        ("memory_size", lambda state: state + 100, r"memory_size: expected 0 to 3, found"),
        ("absorbed", lambda state: -state, r"absorbed: expected 0 to any, found"),
        ("absorbed", lambda state: state + 1, r"absorbed: differs from the histories"),
        ("interaction_count", lambda state: state + 1000, r"interaction_count: expected no more than"),
        ("history", lambda state: state[:-1], r"history: expected float32 \(31, 3, 16\), found float32 \(30, 3, 16\)"),
        ("last_update_s", lambda state: state.int(), r"last_update_s: expected int64 \(31,\), found int32"),
    ],
)
def test_memories_that_cannot_be_are_refused(bundle: Path, tensor: str, change: Change, message: str) -> None:
    state = torch.load(bundle / MEMORIES, weights_only=True)
    torch.save(state | {tensor: change(state[tensor])}, bundle / MEMORIES)
    digest_again(bundle)
    with pytest.raises(REFUSALS, match=rf"memories\.pt: {message}"):
        Recommender.load(bundle)


@pytest.mark.parametrize(
    ("tensor", "change", "message"),
    [
        ("cooccurrence.neighbors", lambda table: table + 25, "neighbors: expected items from 0 to 24, found"),
        ("cooccurrence.neighbors", lambda table: table[:, :-1], "neighbors: expected 25 rows in one table"),
        ("cooccurrence.strengths", lambda table: -table - 1, "strengths: expected no number below zero"),
        ("cooccurrence.strengths", lambda table: table[..., :-1], "strengths: expected the shape of neighbors"),
        ("retriever.encoder.text.as_of", lambda table: -table, "as_of: expected a number of interactions"),
        ("retriever.encoder.text.sentence_offsets", lambda table: table.flip(0), "sentence_offsets: expected numbers"),
        ("retriever.encoder.text.snapshot_offsets", lambda table: table * 2, "snapshot_offsets: expected 0 to 1"),
        ("retriever.encoder.text.sentences", lambda table: table[:, :-1], "sentences: expected rows of 128 numbers"),
    ],
)
def test_tables_that_do_not_fit_the_model_are_refused(bundle: Path, tensor: str, change: Change, message: str) -> None:
    state = torch.load(bundle / WEIGHTS, weights_only=True)
    torch.save(state | {tensor: change(state[tensor]).contiguous()}, bundle / WEIGHTS)
    digest_again(bundle)
    with pytest.raises(TensorFileError, match=rf"final_model\.pt: {tensor.rpartition('.')[0]}\.{message}"):
        Recommender.load(bundle)


@pytest.mark.parametrize(
    ("name", "array", "change", "message"),
    [
        ("histories", "items", lambda each: each * 0, "items: expected items from 1 to 24, found 0"),
        ("histories", "items", lambda each: each + 24, "items: expected items from 1 to 24"),
        ("histories", "items", lambda each: each.astype(np.int32), r"items: expected int64 \(any\), found int32"),
        ("histories", "timestamps", lambda each: each[::-1], "timestamps: expected those of a user to rise"),
        ("histories", "timestamps", lambda each: each[1:], "timestamps: expected int64"),
        ("histories", "offsets", lambda each: each[::-1], "offsets: expected numbers that rise"),
        ("histories", "training_lengths", lambda each: each + 99, "training_lengths: expected no more"),
        ("popularity", "total", lambda each: each + 1, r"total: expected the interactions of histories\.npz"),
        ("popularity", "recent", lambda each: -each - 1, "recent: expected no more than"),
    ],
)
def test_histories_and_counts_that_cannot_be_are_refused(
    bundle: Path, name: str, array: str, change: Change, message: str
) -> None:
    path = bundle / f"{name}.npz"
    arrays = dict(np.load(path))
    np.savez(path, **arrays | {array: change(arrays[array])})
    digest_again(bundle)
    with pytest.raises(ArtifactError, match=rf"{name}\.npz: {message}"):
        load_bundle(bundle)


def test_a_model_of_another_number_of_users_is_refused(bundle: Path) -> None:
    path = bundle / "model_config.json"
    path.write_text(path.read_text().replace('"num_users": 30', '"num_users": 31'))
    digest_again(bundle)
    with pytest.raises(
        REFUSALS, match=r"model_config\.json: num_users: is 31, the histories are of 30|snapshot_offsets"
    ):
        Recommender.load(bundle)


def test_mlflow_does_not_serve_it(registered: Registered, tmp_path: Path) -> None:
    with open_mlflow(registered.tracking_uri, read_only=True):
        source = mlflow.artifacts.download_artifacts(registered.registration.model_uri, dst_path=str(tmp_path))
    tensor = spoil(Path(source) / BUNDLE_PATH, WEIGHTS)
    with pytest.raises(TensorFileError, match=rf"final_model\.pt: {tensor}: holds NaN"):
        mlflow.pyfunc.load_model(source)


@pytest.mark.parametrize("part", ["checkpoint", "memories"])
def test_nothing_is_registered_or_measured(trained: Trained, tracking_uri: str, tmp_path: Path, part: str) -> None:
    folder = shutil.copytree(getattr(trained, part), tmp_path / part)
    tensor = spoil(folder, WEIGHTS if part == "checkpoint" else "final_memories.pt")
    change: dict[str, Any] = {part: folder}
    inputs = replace(trained, **change).inputs
    with pytest.raises((TensorFileError, ArtifactError), match=rf"{tensor}: holds NaN|results are of another"):
        register_model(*inputs, RegistryConfig(), tmp_path / "registration.json", tracking_uri)
    assert not (tmp_path / "registration.json").exists()
    if part == "checkpoint":
        with pytest.raises(TensorFileError, match=rf"{WEIGHTS}: {tensor}: holds NaN"):
            evaluate(trained.sequences, folder, tmp_path / "results.json", tmp_path / "x.html", EvaluationConfig())
