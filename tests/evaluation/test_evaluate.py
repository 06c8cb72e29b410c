import json
import shutil

import numpy as np
import pytest
import torch

from ur4rec.columns import USER
from ur4rec.data.sequences import load_sequences
from ur4rec.evaluation.candidates import load_candidates
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.evaluation.evaluate import evaluate
from ur4rec.evaluation.results import load_results
from ur4rec.models.config import ModelConfig
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.ranking.metrics import metrics_from_ranks
from ur4rec.ranking.ranks import rank_users
from ur4rec.storage.artifacts import write_artifact
from ur4rec.training.checkpoints import CheckpointError, best_file, load_model, write_model_config
from ur4rec.training.scoring import ModelScorer

MODEL = ModelConfig(
    sasrec_hidden_dim=8,
    sasrec_num_heads=2,
    retriever_output_dim=8,
    memory_dim=4,
    max_memory_size=3,
    interaction_threshold=2,
    max_seq_len=8,
)


def make_model(data, seed):
    torch.manual_seed(seed)
    model = UR4RecV2MoE(data.num_items, data.num_users, MODEL)
    model.retriever.encoder.text.fill(
        torch.randn(data.num_items + 1, 5),
        torch.randn(2, 5),
        torch.tensor([0, 2]),
        torch.tensor([[1, 2]]),
        data.num_users,
    )
    return model.eval()


@pytest.fixture(scope="module")
def trained(sequences, checkpoint, tmp_path_factory):
    """A checkpoint folder with the weights of two stages that differ in everything."""
    data = load_sequences(sequences)
    folder = tmp_path_factory.mktemp("evaluation") / "trained"
    with write_artifact(folder, "end_to_end", MODEL) as writer:
        for seed, stage in enumerate(("pretrain_sasrec", "end_to_end")):
            torch.save(make_model(data, seed).state_dict(), writer.folder / best_file(stage))
        write_model_config(writer.folder, make_model(data, 0), data.digest)
        (writer.folder / "history.json").write_bytes((checkpoint / "history.json").read_bytes())
    return folder


@pytest.fixture(scope="module")
def outcome(sequences, trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    files = folder / "results.json", folder / "report.html"
    return evaluate(sequences, trained, *files, EvaluationConfig(bootstrap_samples=100)), *files


def test_writes_what_it_returns(outcome):
    results, results_file, report_file = outcome
    assert load_results(results_file) == results
    assert f"{results.test['UR4RecV2MoE']['ndcg@10'].value:.4f}" in report_file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("system", "stage", "part"), [("UR4RecV2MoE", "end_to_end", "fused"), ("sasrec", "pretrain_sasrec", "sasrec")]
)
def test_every_system_has_the_weights_of_its_stage(outcome, sequences, trained, system, stage, part):
    data = load_sequences(sequences)
    seen = data.histories("test")
    scorer = ModelScorer(load_model(trained, stage=stage), seen, part=part)
    expected = metrics_from_ranks(rank_users(scorer, data.test, seen, 256))
    assert {name: item.value for name, item in outcome[0].test[system].items()} == pytest.approx(expected)


def test_memory_and_experts_are_those_of_the_test(outcome, sequences, trained):
    data = load_sequences(sequences)
    scorer = ModelScorer(load_model(trained), data.histories("test"))
    assert outcome[0].memory == scorer.memory_stats()
    scorer(np.arange(1, data.num_users + 1))
    assert outcome[0].expert_weights == pytest.approx(scorer.expert_weights())
    assert sum(outcome[0].expert_weights.values()) == pytest.approx(1.0)


def test_experts_of_a_slice_are_those_of_its_users(outcome, sequences, trained):
    data = load_sequences(sequences)
    scorer = ModelScorer(load_model(trained), data.histories("test"))
    users = data.test[:, USER]
    lengths = data.histories("test").lengths[users]
    slices = [part for part in outcome[0].slices if part.by == "history_length"]
    assert len({part.expert_weights["user_preference"] for part in slices}) > 1
    for part in slices:
        alone = ModelScorer(load_model(trained), data.histories("test"))
        alone(users[(lengths >= part.low) & (lengths <= part.high)])
        assert part.expert_weights == pytest.approx(alone.expert_weights())
    scorer(users)
    assert scorer.expert_weights(users) == pytest.approx(scorer.expert_weights())


def test_the_sampled_protocol_keeps_its_candidates_beside_the_results(sequences, trained, tmp_path):
    config = EvaluationConfig(bootstrap_samples=100, eval_protocol="sampled", num_candidates=6)
    data = load_sequences(sequences)
    results = evaluate(sequences, trained, tmp_path / "results.json", tmp_path / "report.html", config)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["candidates", "report.html", "results.json"]
    assert results.protocol.candidates.sha256 == load_candidates(tmp_path / "candidates", data).sha256


def test_a_model_of_other_sequences_is_not_evaluated(sequences, trained, tmp_path):
    other = shutil.copytree(sequences, tmp_path / "other")
    config = json.loads((trained / "model_config.json").read_bytes())
    model = shutil.copytree(trained, tmp_path / "model")
    (model / "model_config.json").write_text(json.dumps(config | {"dataset_digest": "0" * 64}))
    with pytest.raises(CheckpointError, match=f"{model}: was not trained on {other}: dataset_digest is 00000000 there"):
        evaluate(other, model, tmp_path / "results.json", tmp_path / "report.html", EvaluationConfig())
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize(
    ("stage", "systems"), [("pretrain_sasrec", ["sasrec"]), ("pretrain_retriever", ["retriever", "sasrec"])]
)
def test_of_a_pretraining_stage_only_what_is_trained_is_evaluated(sequences, checkpoint, tmp_path, stage, systems):
    data = load_sequences(sequences)
    model = make_model(data, 0)
    with write_artifact(tmp_path / "model", stage, MODEL) as writer:
        for name in dict.fromkeys(("pretrain_sasrec", stage)):
            torch.save(model.state_dict(), writer.folder / best_file(name))
        write_model_config(writer.folder, model, data.digest)
        (writer.folder / "history.json").write_bytes((checkpoint / "history.json").read_bytes())
    config = EvaluationConfig(bootstrap_samples=100)
    results = evaluate(sequences, tmp_path / "model", tmp_path / "results.json", tmp_path / "report.html", config)
    assert list(results.test)[: len(systems)] == systems
    assert "UR4RecV2MoE" not in results.test
