"""Every component's function, called in the order of the pipeline on a tiny data set."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kfp import dsl

from components.encode_text import encode_text
from components.end_to_end import end_to_end
from components.evaluate import evaluate
from components.gate_model import gate_model
from components.generate_text import generate_text
from components.image import SLIM, TRAIN
from components.joint_finetune import joint_finetune
from components.preprocess_sequences import preprocess_sequences
from components.pretrain_retriever import pretrain_retriever
from components.pretrain_sasrec import pretrain_sasrec
from components.promote_model import promote_model
from components.register_model import register_model
from components.report_run import report_run
from components.resolve_inputs import resolve_inputs
from components.resolve_warm_start import resolve_warm_start
from ur4rec import __version__
from ur4rec.config_section import ConfigError
from ur4rec.data.input_files import digest_data
from ur4rec.data.sequences import load_sequences
from ur4rec.data.summary import describe_data, list_warnings
from ur4rec.evaluation.results import load_results
from ur4rec.registry.champion.retrain import RetrainOutcome
from ur4rec.registry.gate.verdict import load_verdict
from ur4rec.registry.register import Registration
from ur4rec.storage.artifacts import read_artifact
from ur4rec.text.embeddings import load_embeddings
from ur4rec.training.stage_names import STAGES

NUM_USERS, NUM_ITEMS, LENGTH = 24, 15, 12
# As they arrive in a task: kfp turns every number of a dictionary into a float.
TRAINING = {
    "sasrec_hidden_dim": 8.0,
    "sasrec_num_blocks": 1.0,
    "retriever_output_dim": 8.0,
    "memory_dim": 8.0,
    "max_seq_len": 8.0,
    "batch_size": 32.0,
    "epochs_per_stage": 1.0,
    "patience": 1.0,
}

Artifacts = dict[str, dsl.Artifact]


@pytest.fixture(scope="session")
def interactions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`LENGTH` interactions of every user, each user one item further on."""
    rows = [
        (f"u{user}", f"i{(user + step) % NUM_ITEMS}", 1_000_000 + 100 * user + step)
        for user in range(NUM_USERS)
        for step in range(LENGTH)
    ]
    path = tmp_path_factory.mktemp("raw") / "plays.csv"
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def artifacts(interactions: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """`<task>.<output>` → artifact, of all tasks."""
    root = tmp_path_factory.mktemp("tasks")
    made: Artifacts = {}

    def call(component: Any, outputs: dict[str, type[dsl.Artifact]], **arguments: Any) -> None:
        new = {
            name: kind(name=name, uri=str(root / component.name / name), metadata={})
            for name, kind in {**outputs, "metrics": dsl.Metrics}.items()
        }
        component.python_func(code_digest="digest", **arguments, **new)
        made.update({f"{component.name}.{name}": artifact for name, artifact in new.items()})

    _prepare(call, made, interactions)
    _train(call, made)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow about itself
        _evaluate_and_register(call, made, f"sqlite:///{root / 'mlflow.db'}")
    return made


def _prepare(call: Callable[..., None], made: Artifacts, interactions: Path) -> None:
    call(
        preprocess_sequences,
        {"sequences": dsl.Dataset},
        interactions=str(interactions),
        items="",
        data_digest="",
        config={"dataset_name": "plays", "min_seq_len": 3.0},
    )
    sequences = made["preprocess-sequences.sequences"]
    call(
        generate_text,
        {"texts": dsl.Artifact},
        item_text="",
        user_text="",
        text_digest="",
        config={"snapshot_base": 4.0},
        asked=["{}"],
        sequences=sequences,
    )
    call(
        encode_text,
        {"embeddings": dsl.Dataset},
        config={},
        device="cpu",
        sequences=sequences,
        texts=made["generate-text.texts"],
    )


def _train(call: Callable[..., None], made: Artifacts) -> None:
    outputs = {"checkpoint": dsl.Model, "memories": dsl.Artifact, "curves": dsl.HTML}
    shared = {"config": TRAINING, "device": "cpu", "state": "", "sequences": made["preprocess-sequences.sequences"]}
    call(pretrain_sasrec, outputs, **shared, warm_start="", tracking_uri="")
    before = "pretrain-sasrec"
    for stage in (pretrain_retriever, joint_finetune, end_to_end):
        call(
            stage,
            outputs,
            **shared,
            embeddings=made["encode-text.embeddings"],
            previous_checkpoint=made[f"{before}.checkpoint"],
            previous_memories=made[f"{before}.memories"],
        )
        before = stage.name


def _evaluate_and_register(call: Callable[..., None], made: Artifacts, tracking_uri: str) -> None:
    call(
        evaluate,
        {"results": dsl.Artifact, "report": dsl.HTML, "comparison": dsl.Markdown},
        config={"bootstrap_samples": 100.0},
        sequences=made["preprocess-sequences.sequences"],
        texts=made["generate-text.texts"],
        embeddings=made["encode-text.embeddings"],
        sasrec=made["pretrain-sasrec.checkpoint"],
        retriever=made["pretrain-retriever.checkpoint"],
        joint=made["joint-finetune.checkpoint"],
        checkpoint=made["end-to-end.checkpoint"],
    )
    call(
        register_model,
        {"registration": dsl.Artifact, "card": dsl.Markdown},
        config={"registered_model_name": "toy"},
        tracking_uri=tracking_uri,
        sequences=made["preprocess-sequences.sequences"],
        checkpoint=made["end-to-end.checkpoint"],
        memories=made["end-to-end.memories"],
        results=made["evaluate.results"],
        report=made["evaluate.report"],
    )
    call(
        gate_model,
        {"decision": dsl.Artifact, "summary": dsl.Markdown},
        config={"registered_model_name": "overruled by the registration"},
        rules={"min_users": 10.0, "floor_times_popularity": 0.0, "max_latency_ms": 1e9, "margin_by_users": {"0": 0.1}},
        tracking_uri=tracking_uri,
        sequences=made["preprocess-sequences.sequences"],
        registration=made["register-model.registration"],
    )
    call(
        promote_model,
        {"promotion": dsl.Artifact, "summary": dsl.Markdown},
        config={"registered_model_name": "overruled by the registration", "promote_automatically": True},
        tracking_uri=tracking_uri,
        registration=made["register-model.registration"],
        decision=made["gate-model.decision"],
    )


def read_metrics(artifacts: Artifacts, task: str) -> dict[str, float]:
    metrics: dict[str, float] = json.loads(Path(artifacts[f"{task}.metrics"].path).read_text())
    return metrics


def test_preprocess_sequences_writes_what_the_counts_say(artifacts: Artifacts) -> None:
    sequences = load_sequences(Path(artifacts["preprocess-sequences.sequences"].path))
    metrics = read_metrics(artifacts, "preprocess-sequences")
    assert (sequences.num_users, sequences.num_items, sequences.num_interactions) == (24, 15, 24 * 12)
    assert (metrics["num_users"], metrics["num_items"], metrics["num_interactions"]) == (24, 15, 24 * 12)


def test_the_text_settings_reach_the_texts(artifacts: Artifacts) -> None:
    # A training prefix of 10 holds the grid points 4 and 8.
    assert read_metrics(artifacts, "generate-text")["snapshots"] == 2 * 24
    assert read_artifact(Path(artifacts["generate-text.texts"].path)).config["snapshot_base"] == 4


def test_encode_text_embeds_every_item_and_snapshot(artifacts: Artifacts) -> None:
    sequences = load_sequences(Path(artifacts["preprocess-sequences.sequences"].path))
    embeddings = load_embeddings(Path(artifacts["encode-text.embeddings"].path), sequences)
    assert embeddings.item_descriptions.shape == (16, 384)
    assert len(embeddings.snapshots) == read_metrics(artifacts, "encode-text")["snapshots"] == 48


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_leaves_weights_memories_and_metrics(artifacts: Artifacts, stage: str) -> None:
    task = stage.replace("_", "-")
    checkpoint = read_artifact(Path(artifacts[f"{task}.checkpoint"].path))
    memories = read_artifact(Path(artifacts[f"{task}.memories"].path))
    metrics = read_metrics(artifacts, task)
    assert f"{stage}_best.pt" in checkpoint.files
    assert f"{stage}_memories.pt" in memories.files
    assert checkpoint.config["sasrec_hidden_dim"] == 8
    assert metrics["epochs"] == 1
    assert 0 < metrics["ndcg@10"] <= 1
    page = Path(artifacts[f"{task}.curves"].path).read_text()
    assert f"<td>{stage}</td>" in page
    assert len(page) < 2_000_000


def test_stages_read_the_ones_before(artifacts: Artifacts) -> None:
    final = read_artifact(Path(artifacts["end-to-end.checkpoint"].path))
    assert {f"{stage}_best.pt" for stage in STAGES} | {"final_model.pt"} <= set(final.files)


def test_evaluate_reports_every_task_before_it(artifacts: Artifacts) -> None:
    results = load_results(Path(artifacts["evaluate.results"].path))
    assert results.dataset.name == "plays"
    assert {"preprocess_sequences", "generate_text", "encode_text", *STAGES} <= set(results.timings_s)
    assert read_metrics(artifacts, "evaluate")["ndcg@10"] == results.test["UR4RecV2MoE"]["ndcg@10"].value
    assert Path(artifacts["evaluate.comparison"].path).read_text().startswith("# UR4RecV2MoE on plays\n")
    assert Path(artifacts["evaluate.report"].path).read_text().lstrip().lower().startswith("<!doctype html")


def test_resolve_warm_start_asks_nobody_where_it_is_switched_off() -> None:
    assert resolve_warm_start.python_func(config={}, tracking_uri="http://127.0.0.1:1") == ("", "")


def test_register_model_makes_a_version(artifacts: Artifacts) -> None:
    path = Path(artifacts["register-model.registration"].path)
    registration = Registration.model_validate_json(path.read_bytes())
    assert (registration.name, registration.version, registration.alias) == ("toy", "1", "challenger")
    assert read_metrics(artifacts, "register-model")["version"] == 1


def test_register_model_shows_the_card(artifacts: Artifacts) -> None:
    text = Path(artifacts["register-model.card"].path).read_text()
    assert text.startswith("In MLflow: toy version 1, run ")
    assert "\n# UR4RecV2MoE on plays\n" in text


def test_gate_model_judges_the_registered_version(artifacts: Artifacts) -> None:
    verdict = load_verdict(Path(artifacts["gate-model.decision"].path))
    assert (verdict.verdict, verdict.model_name, verdict.challenger, verdict.champion) == ("passed", "toy", "1", "none")
    assert verdict.rules["min_users"] == 10
    assert verdict.test_digest == load_sequences(Path(artifacts["preprocess-sequences.sequences"].path)).digest
    assert Path(artifacts["gate-model.summary"].path).read_text().startswith("# Gate: toy version 1 passed")
    assert read_metrics(artifacts, "gate-model")["num_users"] == 24


def test_the_verdict_is_a_word_that_a_condition_can_read() -> None:
    outputs = gate_model.component_spec.outputs
    assert outputs is not None
    assert outputs["verdict"].type == "String"


def test_promote_model_promotes_the_first_model_that_passes(artifacts: Artifacts) -> None:
    outcome = RetrainOutcome.model_validate_json(Path(artifacts["promote-model.promotion"].path).read_bytes())
    assert (outcome.ending, outcome.name, outcome.champion) == ("promoted", "toy", "1")
    assert outcome.notice in Path(artifacts["promote-model.summary"].path).read_text()
    assert read_metrics(artifacts, "promote-model")["promoted"] == 1


def test_metrics_are_the_same_in_the_interface_and_the_file(artifacts: Artifacts) -> None:
    tasks = [name.removesuffix(".metrics") for name in artifacts if name.endswith(".metrics")]
    assert len(tasks) == 11
    for task in tasks:
        metrics = read_metrics(artifacts, task)
        assert artifacts[f"{task}.metrics"].metadata == metrics
        assert metrics["peak_memory_mb"] > 0


def test_a_wrong_setting_names_the_parameter_and_the_key(interactions: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data_config: unknown key 'min_seq_length', did you mean 'min_seq_len'"):
        preprocess_sequences.python_func(
            interactions=str(interactions),
            items="",
            data_digest="",
            code_digest="",
            config={"min_seq_length": 5},
            sequences=dsl.Dataset(uri=str(tmp_path / "sequences")),
            metrics=dsl.Metrics(uri=str(tmp_path / "metrics")),
        )
    assert not list(tmp_path.iterdir())


def test_the_log_of_preprocess_tells_the_summary_and_the_warnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"{user},{item},{time}\n" for user in "abc" for time, item in enumerate("xyx", 1_000_000_000))
    (tmp_path / "plays.csv").write_text(f"user_id,item_id,timestamp,shop\n{rows.replace(chr(10), ',s' + chr(10))}")
    preprocess_sequences.python_func(
        interactions=str(tmp_path / "plays.csv"),
        items="",
        data_digest="",
        code_digest="",
        config={},
        sequences=dsl.Dataset(uri=str(tmp_path / "sequences")),
        metrics=dsl.Metrics(uri=str(tmp_path / "metrics")),
    )
    manifest = read_artifact(tmp_path / "sequences")
    (warning,) = list_warnings(manifest)
    assert "seen_items: include" in warning
    assert capsys.readouterr().out.splitlines() == [
        f"preprocess_sequences: {warning}",
        *describe_data(manifest).splitlines(),
    ]
    assert "plays.csv: read as CSV: 3 columns used; unused: shop" in describe_data(manifest)
    assert manifest.details["dataset_name"] == "plays"


def test_inputs_are_resolved_under_the_names_of_the_parameters(interactions: Path) -> None:
    digests = resolve_inputs.python_func(
        interactions=str(interactions),
        items="",
        data_digest="",
        item_text="",
        user_text="",
        text_digest="given",
        config={"snapshot_base": 4.0},
    )
    assert digests._asdict() == {"data_digest": digest_data(str(interactions)), "text_digest": "given"}


def test_the_end_of_a_run_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    report_run.python_func(dsl.PipelineTaskFinalStatus("FAILED", "runs/7", "exit-handler-1", 1, "Evaluate failed."))
    assert capsys.readouterr().out == "run failed: runs/7: Evaluate failed.\n"


def test_the_image_is_pinned() -> None:
    for image in (SLIM, TRAIN):
        name, _, tag = image.partition(":")
        assert "python" in name  # or kfp's local runner warns about it
        assert tag.startswith(f"{__version__}-")
