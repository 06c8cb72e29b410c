import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from present import present
from toy_systems import ToySystems

from ur4rec.columns import USER
from ur4rec.data.legacy import LegacyConfig, import_legacy
from ur4rec.data.sequences import TEST, VAL, Histories, Sequences, load_sequences
from ur4rec.evaluation.baselines import Again, TrainingPrefixes
from ur4rec.evaluation.candidates import load_candidates
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.evaluation.evaluate import EvaluationError, ModelSystems, evaluate, measure
from ur4rec.evaluation.report import render_report
from ur4rec.evaluation.results import Results, load_results
from ur4rec.evaluation.slices import SLICES
from ur4rec.models.config import ModelConfig
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.ranking.lists import LIST_METRICS, PopularityBias
from ur4rec.ranking.metrics import METRICS, metrics_from_ranks
from ur4rec.ranking.ranks import ScoreError, Scorer, rank_users
from ur4rec.storage.artifacts import ArtifactError, sha256_file, write_artifact
from ur4rec.training.checkpoints import CheckpointError, best_file, load_model, write_model_config
from ur4rec.training.scoring import ModelScorer

CONFIG = EvaluationConfig(bootstrap_samples=100)


def empty_targets(sequences: Path, target: Path, file: str) -> Path:
    """A copy of the folder, whose targets in `file` are gone."""
    shutil.copytree(sequences, target)
    before = sha256_file(target / file)
    np.save(target / file, np.zeros((0, 3), dtype=np.int64))
    manifest = target / "manifest.json"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace(before, sha256_file(target / file)), encoding="utf-8")
    return target


def test_systems_are_ranked_beside_the_baselines(sequences: Path, checkpoint: Path, systems: ToySystems) -> None:
    results, history = measure(sequences, checkpoint, systems, CONFIG)
    assert list(results.test) == ["UR4RecV2MoE", "sasrec", "recency_ease", "popularity"]
    assert list(results.validation_systems) == list(results.test)
    assert all(tuple(metrics) == METRICS for metrics in results.test.values())
    assert results.test["UR4RecV2MoE"]["mrr"].value > results.test["sasrec"]["mrr"].value
    assert set(results.differences) == {"sasrec", "recency_ease", "popularity"}
    assert results.validation == history.validation


def test_every_system_has_the_metrics_of_its_lists(sequences: Path, checkpoint: Path, systems: ToySystems) -> None:
    results, _ = measure(sequences, checkpoint, systems, CONFIG)
    data = load_sequences(sequences)
    seen = data.histories("test")
    assert list(results.lists) == list(results.test)
    expected = [metric(data) for metric in LIST_METRICS]
    rank_users(systems(seen)["sasrec"], data.test, seen, 256, lists=expected)
    assert {name: figure.value for name, figure in results.lists["sasrec"].items()} == {
        metric.name: metric.value() for metric in expected
    }


def test_test_values_equal_a_ranking_by_hand(sequences: Path, checkpoint: Path, systems: ToySystems) -> None:
    results, _ = measure(sequences, checkpoint, systems, CONFIG)
    data = load_sequences(sequences)
    seen = data.histories("test")
    expected = metrics_from_ranks(rank_users(systems(seen)["UR4RecV2MoE"], data.test, seen, 256))
    assert {name: item.value for name, item in results.test["UR4RecV2MoE"].items()} == pytest.approx(expected)


def test_each_horizon_is_scored_from_what_came_before_it_and_the_test_comes_last(
    sequences: Path, checkpoint: Path, systems: ToySystems
) -> None:
    results, _ = measure(sequences, checkpoint, systems, CONFIG)
    data = load_sequences(sequences)
    validation, test = systems.histories
    assert np.array_equal(validation.items, data.histories("validation").items)
    assert np.array_equal(test.items, data.histories("test").items)
    assert results.memory == {"total_users": data.num_users}


def test_with_seen_items_included_they_compete_are_listed_and_again_stands_in_the_table(
    sequences: Path, checkpoint: Path, systems: ModelSystems, including: ModelSystems
) -> None:
    data = load_sequences(sequences)
    results, history = measure(sequences, checkpoint, including, CONFIG)
    excluded, _ = measure(sequences, checkpoint, systems, CONFIG)
    assert results.protocol.seen_items == "included"
    assert list(results.test) == ["UR4RecV2MoE", "sasrec", "again", "recency_ease", "popularity"]
    seen = data.histories("test")
    bias = PopularityBias(data)
    scorer = Again(TrainingPrefixes(data.histories("validation"), data.num_items), seen)
    expected = metrics_from_ranks(rank_users(scorer, data.test, None, 256, lists=[bias]))
    assert {name: item.value for name, item in results.test["again"].items()} == pytest.approx(expected)
    assert results.lists["again"][PopularityBias.name].value == bias.value()
    model = systems(data.histories("validation"))["UR4RecV2MoE"]
    assert results.validation_systems["UR4RecV2MoE"] == metrics_from_ranks(rank_users(model, data.val, None, 256))
    for system in excluded.test:
        # Nothing is a repeat here, so more items that compete only make it harder.
        assert results.test[system]["mrr"].value < excluded.test[system]["mrr"].value
    page = render_report(results, history)
    assert "with those the user has already seen" in page
    assert "best items of the whole catalogue" in page
    assert Again.description in page


def test_what_it_was_made_from(sequences: Path, checkpoint: Path, systems: ToySystems) -> None:
    results, _ = measure(sequences, checkpoint, systems, CONFIG, upstream=[sequences])
    data = load_sequences(sequences)
    assert (results.dataset.name, results.dataset.digest) == ("toy", data.digest)
    assert results.dataset.num_interactions == data.num_interactions
    assert results.protocol.split == "leave_one_out"
    assert results.config["seed"] == 5
    assert results.config["bootstrap_samples"] == 100
    assert results.config["min_seq_len"] == 3
    assert results.seeds == [5]
    assert list(results.timings_s) == ["preprocess_sequences", "pretrain_sasrec", "end_to_end", "evaluate"]
    assert set(results.peak_memory_mb) == {"preprocess_sequences", "end_to_end", "evaluate"}


def test_only_time_and_memory_change_between_runs_and_batch_sizes(
    sequences: Path, checkpoint: Path, systems: ToySystems
) -> None:
    kept = []
    for batch_size in (256, 256, 7):
        config = CONFIG.model_copy(update={"eval_batch_size": batch_size})
        results, _ = measure(sequences, checkpoint, systems, config)
        kept.append(results.model_dump_json(exclude={"timings_s", "peak_memory_mb", "config"}))
    assert kept[0] == kept[1] == kept[2]


def test_every_way_to_part_the_users_covers_them(sequences: Path, checkpoint: Path, systems: ToySystems) -> None:
    results, _ = measure(sequences, checkpoint, systems, CONFIG)
    for by in SLICES:
        parts = [part for part in results.slices if part.by == by]
        assert sum(part.num_users for part in parts) == results.dataset.num_users
        assert all(list(part.test) == list(results.test) for part in parts)


def test_the_time_split_has_no_later_interactions(
    make_sequences: Callable[..., Path], checkpoint: Path, systems: ToySystems
) -> None:
    results, _ = measure(make_sequences(split="time", time_split_quantile=0.6), checkpoint, systems, CONFIG)
    assert results.protocol.split == "time"
    assert results.dataset.later_interactions_share == 0.0


def test_the_rolled_back_split_is_told(
    make_sequences: Callable[..., Path], checkpoint: Path, systems: ToySystems
) -> None:
    results, history = measure(make_sequences(drop_last=1), checkpoint, systems, CONFIG)
    assert results.protocol.drop_last == 1
    assert "each user's newest 1 interactions were dropped first" in render_report(results, history)


def test_imported_data_without_times_are_told(checkpoint: Path, systems: ToySystems, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    users = range(1, 5)
    for name, content in (
        ("train", {user: [user, user + 1, user + 2] for user in users}),
        ("val", {user: user + 3 for user in users}),
        ("test", {user: 30 - user for user in users}),
    ):
        saved: Any = content
        np.save(tmp_path / "old" / f"{name}_sequences.npy", saved, allow_pickle=True)
    (tmp_path / "old" / "item_map.json").write_text(json.dumps({f"i{item:02}": item for item in range(1, 31)}))
    import_legacy(tmp_path / "old", tmp_path / "new", LegacyConfig())
    config = CONFIG.model_copy(update={"baselines": ()})
    data = load_sequences(tmp_path / "new")
    results, _ = measure(tmp_path / "new", checkpoint, OfSize(data.num_items), config)
    assert results.protocol.split == "leave_one_out"
    assert any("came without times" in note for note in results.notes)


class OfSize:
    """Scores every item by its index."""

    excludes_seen = True

    def __init__(self, num_items: int) -> None:
        self._scores = torch.arange(num_items + 1.0)

    def __call__(self, histories: Histories) -> dict[str, Scorer]:
        return {"UR4RecV2MoE": lambda users: self._scores.expand(len(users), -1)}

    def expert_weights(self, users: NDArray[Any] | None = None) -> dict[str, float]:
        return {}

    def memory_stats(self) -> dict[str, float]:
        return {}


def test_a_split_without_validation_targets_is_measured_on_the_test(
    sequences: Path, checkpoint: Path, systems: ToySystems, tmp_path: Path
) -> None:
    folder = empty_targets(sequences, tmp_path / "without", VAL)
    results, _ = measure(folder, checkpoint, systems, CONFIG)
    assert results.validation_systems == {}
    assert results.test


def test_a_split_without_test_targets_is_refused(
    sequences: Path, checkpoint: Path, systems: ToySystems, tmp_path: Path
) -> None:
    folder = empty_targets(sequences, tmp_path / "without", TEST)
    with pytest.raises(EvaluationError, match="without: holds no test target"):
        measure(folder, checkpoint, systems, CONFIG)


def test_a_system_that_gives_nan_is_refused(sequences: Path, checkpoint: Path, systems: ToySystems) -> None:
    def spoil(score: Scorer) -> Scorer:
        return lambda users: score(users) * float("nan")

    class Broken(ToySystems):
        def __call__(self, histories: Histories) -> dict[str, Scorer]:
            return {name: spoil(score) for name, score in super().__call__(histories).items()}

    with pytest.raises(ScoreError, match="user index 1: the score of item index 1 is NaN"):
        measure(sequences, checkpoint, Broken(), CONFIG)


def test_an_altered_checkpoint_is_refused(
    sequences: Path, checkpoint: Path, systems: ToySystems, tmp_path: Path
) -> None:
    altered = shutil.copytree(checkpoint, tmp_path / "altered")
    (altered / "history.json").write_text('{"stages": []}', encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"history\.json: sha256 differs"):
        measure(sequences, altered, systems, CONFIG)


MODEL = ModelConfig(
    sasrec_hidden_dim=8,
    sasrec_num_heads=2,
    retriever_output_dim=8,
    memory_dim=4,
    max_memory_size=3,
    interaction_threshold=2,
    max_seq_len=8,
)


def make_model(data: Sequences, seed: int) -> UR4RecV2MoE:
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
def trained(sequences: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
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
def outcome(sequences: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path, Path]:
    folder = tmp_path_factory.mktemp("evaluation")
    files = folder / "results.json", folder / "report.html"
    return evaluate(sequences, trained, *files, EvaluationConfig(bootstrap_samples=100)), *files


def test_writes_what_it_returns(outcome: tuple[Results, Path, Path]) -> None:
    results, results_file, report_file = outcome
    assert load_results(results_file) == results
    assert f"{results.test['UR4RecV2MoE']['ndcg@10'].value:.4f}" in report_file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("system", "stage", "part"), [("UR4RecV2MoE", "end_to_end", "fused"), ("sasrec", "pretrain_sasrec", "sasrec")]
)
def test_every_system_has_the_weights_of_its_stage(
    outcome: tuple[Results, Path, Path],
    sequences: Path,
    trained: Path,
    system: str,
    stage: str,
    part: Literal["fused", "sasrec"],
) -> None:
    data = load_sequences(sequences)
    seen = data.histories("test")
    scorer = ModelScorer(load_model(trained, stage=stage), seen, part=part)
    expected = metrics_from_ranks(rank_users(scorer, data.test, seen, 256))
    assert {name: item.value for name, item in outcome[0].test[system].items()} == pytest.approx(expected)


def test_memory_and_experts_are_those_of_the_test(
    outcome: tuple[Results, Path, Path], sequences: Path, trained: Path
) -> None:
    data = load_sequences(sequences)
    scorer = ModelScorer(load_model(trained), data.histories("test"))
    assert outcome[0].memory == scorer.memory_stats()
    scorer(np.arange(1, data.num_users + 1))
    assert outcome[0].expert_weights == pytest.approx(scorer.expert_weights())
    assert sum(outcome[0].expert_weights.values()) == pytest.approx(1.0)


def test_experts_of_a_slice_are_those_of_its_users(
    outcome: tuple[Results, Path, Path], sequences: Path, trained: Path
) -> None:
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


def test_the_sampled_protocol_keeps_its_candidates_beside_the_results(
    sequences: Path, trained: Path, tmp_path: Path
) -> None:
    config = EvaluationConfig(bootstrap_samples=100, eval_protocol="sampled", num_candidates=6)
    data = load_sequences(sequences)
    results = evaluate(sequences, trained, tmp_path / "results.json", tmp_path / "report.html", config)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["candidates", "report.html", "results.json"]
    assert present(results.protocol.candidates).sha256 == load_candidates(tmp_path / "candidates", data).sha256


def test_a_model_of_other_sequences_is_not_evaluated(sequences: Path, trained: Path, tmp_path: Path) -> None:
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
def test_of_a_pretraining_stage_only_what_is_trained_is_evaluated(
    sequences: Path, checkpoint: Path, tmp_path: Path, stage: str, systems: list[str]
) -> None:
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
