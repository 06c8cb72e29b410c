"""One setting says whether what a user has had competes, is measured and is recommended; everything obeys it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from ur4rec.cli import app
from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.evaluation.caveats import repeated_targets_share
from ur4rec.evaluation.results import Results, load_results
from ur4rec.recommender.all_users import recommend_all
from ur4rec.recommender.bundle import load_bundle, write_bundle
from ur4rec.recommender.recommender import Recommender
from ur4rec.recommender.requests import Request, resolve
from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.gate.gate import gate_version
from ur4rec.registry.gate.rules import load_rules
from ur4rec.registry.mlflow_client import open_mlflow
from ur4rec.registry.register import register_model
from ur4rec.storage.artifacts import MANIFEST, Manifest, sha256_file
from ur4rec.training.checkpoints import MODEL_CONFIG, CheckpointError
from ur4rec.training.stages import run_stage

if TYPE_CHECKING:
    from toy_runs import Trained

pytest_plugins = ["trained_toys"]
MODEL = "models:/ur4rec@challenger"
NUM_ITEMS, NUM_PLAYED = 24, 6
"""Items of the catalogue, and of each user."""


@pytest.fixture(scope="module")
def data(repeating: Trained) -> Sequences:
    data = load_sequences(repeating.sequences)
    assert repeated_targets_share(data) == 1
    return data


@pytest.fixture(scope="module")
def results(repeating: Trained) -> Results:
    return load_results(repeating.results)


@pytest.fixture(scope="module")
def recommender(repeating: Trained, tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    write_bundle(repeating.sequences, repeating.checkpoint, folder)
    return Recommender.load(folder)


def seen_ids(data: Sequences) -> dict[str, set[str]]:
    """Original user id → original ids of everything that the user had."""
    histories = data.histories("full")
    return {
        user: {data.item_ids[item] for item in histories.items[slice(*histories.offsets[index : index + 2])]}
        for index, user in enumerate(data.user_ids)
        if index
    }


def test_the_baseline_of_what_was_had_stands_in_every_table(results: Results, repeating: Trained) -> None:
    assert results.protocol.seen_items == "included"
    assert results.config["seen_items"] == "include"
    for table in (results.test, results.validation_systems, results.differences, results.lists, results.slices[0].test):
        assert "again" in table
    assert "again/ndcg@10" in results.headline()
    assert results.test["again"]["ndcg@10"].value > 2 * results.test["popularity"]["ndcg@10"].value
    page = repeating.report.read_text(encoding="utf-8")
    assert "<dt>again</dt>" in page
    assert "with those the user has already seen" in page


def test_training_stopped_by_the_metric_that_the_evaluation_measures(results: Results) -> None:
    kept, measured = results.validation["end_to_end"], results.validation_systems[results.model_name]
    assert {name: measured[name] for name in kept} == pytest.approx(kept, abs=1e-6)


def test_what_is_served_as_of_the_test_has_the_metric_of_the_evaluation(
    results: Results, recommender: Recommender, data: Sequences
) -> None:
    lengths, bundle = data.histories("test").lengths, recommender.bundle
    requests = [Request(data.user_ids[user], seq_end=int(lengths[user])) for user in data.test[:, 0]]
    answers = recommender.answer([resolve(request, bundle) for request in requests])
    gains = []
    for answer, target in zip(answers, data.test[:, 1], strict=True):
        place = np.flatnonzero(answer.items == target)
        gains.append(1 / np.log2(place[0] + 2) if len(place) else 0.0)
    assert np.mean(gains) > 0
    assert np.mean(gains) == pytest.approx(results.test[results.model_name]["ndcg@10"].value, abs=1e-6)


def test_every_way_to_ask_recommends_again_unless_the_request_says_otherwise(
    recommender: Recommender, data: Sequences, tmp_path: Path
) -> None:
    seen = seen_ids(data)
    recommend_all(recommender, tmp_path / "all.parquet", k=NUM_ITEMS)
    table = pq.read_table(tmp_path / "all.parquet").to_pandas()
    assert (table.groupby("user_id").size() == NUM_ITEMS).all()
    recommend_all(recommender, tmp_path / "new.parquet", k=NUM_ITEMS, exclude_seen=True)
    table = pq.read_table(tmp_path / "new.parquet").to_pandas()
    assert not any(item in seen[user] for user, item in zip(table["user_id"], table["item_id"], strict=True))
    asked = ["recommend", "--user", "u02", "-k", str(NUM_ITEMS), "--model", str(recommender.bundle.path)]
    for option, expected in (
        ([], NUM_ITEMS),
        (["--include-seen"], NUM_ITEMS),
        (["--exclude-seen"], NUM_ITEMS - NUM_PLAYED),
    ):
        shown = CliRunner().invoke(app, [*asked, *option])
        assert shown.exit_code == 0, shown.output
        assert sum(line.startswith("│") for line in shown.output.splitlines()) == expected
        assert ("everything else has been seen" in shown.output) == (option == ["--exclude-seen"])


def test_a_later_stage_has_the_rule_of_the_ones_before(repeating: Trained, tmp_path: Path) -> None:
    before = repeating.checkpoint.parents[1] / "joint_finetune" / "checkpoint"
    config = repeating.config.model_copy(update={"seen_items": "exclude"})
    with pytest.raises(
        CheckpointError, match=r"seen_items: is exclude, but .*joint_finetune/checkpoint was trained with"
    ):
        run_stage(
            "end_to_end",
            repeating.sequences,
            tmp_path / "checkpoint",
            tmp_path / "memories",
            config,
            previous_checkpoint=before,
        )


def test_a_bundle_of_an_older_release_leaves_out_what_was_seen(recommender: Recommender, tmp_path: Path) -> None:
    old = shutil.copytree(recommender.bundle.path, tmp_path / "bundle")
    content = json.loads((old / MODEL_CONFIG).read_bytes())
    assert content["config"].pop("seen_items") == "include"
    (old / MODEL_CONFIG).write_text(json.dumps(content))
    manifest = Manifest.model_validate_json((old / MANIFEST).read_bytes())
    files = {name: sha256_file(old / name) for name in manifest.files}
    (old / MANIFEST).write_text(manifest.model_copy(update={"files": files}).model_dump_json())
    assert load_bundle(old).excludes_seen
    assert len(Recommender.load(old).recommend(["u02"], k=NUM_ITEMS)) == NUM_ITEMS - NUM_PLAYED


def test_registry_and_gate_obey(repeating: Trained, data: Sequences, tracking_uri: str, tmp_path: Path) -> None:
    register_model(*repeating.inputs, RegistryConfig(), tmp_path / "registration.json", tracking_uri)
    rules = load_rules(overrides={"min_users": 1, "max_latency_ms": 1e9, "floor_times_popularity": 0})
    verdict = gate_version(repeating.sequences, None, RegistryConfig(), rules, tracking_uri)
    assert any("seen items included" in note for note in verdict.notes)
    request = pd.DataFrame({"user_id": ["u02"]})
    with open_mlflow(tracking_uri) as client:
        version = client.get_model_version_by_alias("ur4rec", "challenger")
        assert "seen items included" in version.tags["ur4rec.protocol"]
        run = client.get_run(str(version.run_id))
        assert run.data.params["seen_items"] == "include"
        assert run.data.metrics["test/again/ndcg_at_10"] > 0
        model = mlflow.pyfunc.load_model(MODEL)
        defaults = {parameter.name: parameter.default for parameter in model.metadata.signature.params}
        assert defaults == {"k": 10, "exclude_seen": False}
        for params, expected in (({}, NUM_ITEMS), ({"exclude_seen": True}, NUM_ITEMS - NUM_PLAYED)):
            assert len(model.predict(request, params={"k": NUM_ITEMS, **params})) == expected
