from __future__ import annotations

import json
from pathlib import Path

import pytest
from kfp import dsl

from components.gate_model import gate_model
from components.image import SLIM, TRAIN
from components.preprocess_sequences import preprocess_sequences
from components.report_run import report_run
from components.resolve_inputs import resolve_inputs
from components.resolve_warm_start import resolve_warm_start
from ur4rec import __version__
from ur4rec.config_section import ConfigError
from ur4rec.data.input_files import digest_data
from ur4rec.data.sequences import load_sequences
from ur4rec.evaluation.results import load_results
from ur4rec.registry.champion.retrain import RetrainOutcome
from ur4rec.registry.gate.verdict import load_verdict
from ur4rec.registry.register import Registration
from ur4rec.storage.artifacts import read_artifact
from ur4rec.text.embeddings import load_embeddings
from ur4rec.training.config import STAGES

Artifacts = dict[str, dsl.Artifact]


def read_metrics(artifacts: Artifacts, task: str) -> dict[str, float]:
    return json.loads(Path(artifacts[f"{task}.metrics"].path).read_text())


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


def test_stages_read_the_ones_before(artifacts: Artifacts) -> None:
    final = read_artifact(Path(artifacts["end-to-end.checkpoint"].path))
    assert {f"{stage}_best.pt" for stage in STAGES} | {"final_model.pt"} <= set(final.files)


def test_evaluate_reports_every_task_before_it(artifacts: Artifacts) -> None:
    results = load_results(Path(artifacts["evaluate.results"].path))
    assert results.dataset.name == "plays"
    assert {"preprocess_sequences", "generate_text", "encode_text", *STAGES} <= set(results.timings_s)
    assert read_metrics(artifacts, "evaluate")["ndcg@10"] == results.test["UR4RecV2MoE"]["ndcg@10"].value
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
