import json
import shutil

import numpy as np
import pytest
import torch

from ur4rec.data.legacy import LegacyConfig, import_legacy
from ur4rec.data.sequences import TEST, VAL, load_sequences
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.evaluation.measure import EvaluationError, measure
from ur4rec.evaluation.report import render_report
from ur4rec.ranking.metrics import METRICS, metrics_from_ranks
from ur4rec.ranking.ranks import ScoreError, rank_users
from ur4rec.storage.artifacts import ArtifactError, sha256_file

CONFIG = EvaluationConfig(bootstrap_samples=100)


def empty_targets(sequences, target, file):
    """A copy of the folder, whose targets in `file` are gone."""
    shutil.copytree(sequences, target)
    before = sha256_file(target / file)
    np.save(target / file, np.zeros((0, 3), dtype=np.int64))
    manifest = target / "manifest.json"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace(before, sha256_file(target / file)), encoding="utf-8")
    return target


def test_systems_are_ranked_beside_the_baselines(sequences, checkpoint, systems):
    results, history = measure(sequences, checkpoint, systems, CONFIG)
    assert list(results.test) == ["UR4RecV2MoE", "sasrec", "recency_ease", "popularity"]
    assert list(results.validation_systems) == list(results.test)
    assert all(tuple(metrics) == METRICS for metrics in results.test.values())
    assert results.test["UR4RecV2MoE"]["mrr"].value > results.test["sasrec"]["mrr"].value
    assert set(results.differences) == {"sasrec", "recency_ease", "popularity"}
    assert results.validation == history.validation


def test_test_values_equal_a_ranking_by_hand(sequences, checkpoint, systems):
    results, _ = measure(sequences, checkpoint, systems, CONFIG)
    data = load_sequences(sequences)
    seen = data.histories("test")
    expected = metrics_from_ranks(rank_users(systems(seen)["UR4RecV2MoE"], data.test, seen, 256))
    assert {name: item.value for name, item in results.test["UR4RecV2MoE"].items()} == pytest.approx(expected)


def test_each_horizon_is_scored_from_what_came_before_it_and_the_test_comes_last(sequences, checkpoint, systems):
    results, _ = measure(sequences, checkpoint, systems, CONFIG)
    data = load_sequences(sequences)
    validation, test = systems.histories
    assert np.array_equal(validation.items, data.histories("validation").items)
    assert np.array_equal(test.items, data.histories("test").items)
    assert results.memory == {"total_users": data.num_users}


def test_what_it_was_made_from(sequences, checkpoint, systems):
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


def test_only_time_and_memory_change_between_runs_and_batch_sizes(sequences, checkpoint, systems):
    kept = []
    for batch_size in (256, 256, 7):
        config = CONFIG.model_copy(update={"eval_batch_size": batch_size})
        results, _ = measure(sequences, checkpoint, systems, config)
        kept.append(results.model_dump_json(exclude={"timings_s", "peak_memory_mb", "config"}))
    assert kept[0] == kept[1] == kept[2]


def test_slices_cover_the_users_twice(sequences, checkpoint, systems):
    results, _ = measure(sequences, checkpoint, systems, CONFIG)
    for by in ("history_length", "target_popularity"):
        parts = [part for part in results.slices if part.by == by]
        assert sum(part.num_users for part in parts) == results.dataset.num_users
        assert all(list(part.test) == list(results.test) for part in parts)


def test_the_time_split_has_no_later_interactions(make_sequences, checkpoint, systems):
    results, _ = measure(make_sequences(split="time", time_split_quantile=0.6), checkpoint, systems, CONFIG)
    assert results.protocol.split == "time"
    assert results.dataset.later_interactions_share == 0.0


def test_the_rolled_back_split_is_told(make_sequences, checkpoint, systems):
    results, history = measure(make_sequences(drop_last=1), checkpoint, systems, CONFIG)
    assert results.protocol.drop_last == 1
    assert "each user's newest 1 interactions were dropped first" in render_report(results, history)


def test_imported_data_without_times_are_told(checkpoint, systems, tmp_path):
    (tmp_path / "old").mkdir()
    users = range(1, 5)
    for name, content in (
        ("train", {user: [user, user + 1, user + 2] for user in users}),
        ("val", {user: user + 3 for user in users}),
        ("test", {user: 30 - user for user in users}),
    ):
        np.save(tmp_path / "old" / f"{name}_sequences.npy", content, allow_pickle=True)
    (tmp_path / "old" / "item_map.json").write_text(json.dumps({f"i{item:02}": item for item in range(1, 31)}))
    import_legacy(tmp_path / "old", tmp_path / "new", LegacyConfig())
    config = CONFIG.model_copy(update={"baselines": ()})
    data = load_sequences(tmp_path / "new")
    results, _ = measure(tmp_path / "new", checkpoint, OfSize(data.num_items), config)
    assert results.protocol.split == "leave_one_out"
    assert any("came without times" in note for note in results.notes)


class OfSize:
    """Scores every item by its index."""

    def __init__(self, num_items):
        self._scores = torch.arange(num_items + 1.0)

    def __call__(self, histories):
        return {"UR4RecV2MoE": lambda users: self._scores.expand(len(users), -1)}

    def expert_weights(self, users=None):
        return {}

    def memory_stats(self):
        return {}


def test_a_split_without_validation_targets_is_measured_on_the_test(sequences, checkpoint, systems, tmp_path):
    folder = empty_targets(sequences, tmp_path / "without", VAL)
    results, _ = measure(folder, checkpoint, systems, CONFIG)
    assert results.validation_systems == {}
    assert results.test


def test_a_split_without_test_targets_is_refused(sequences, checkpoint, systems, tmp_path):
    folder = empty_targets(sequences, tmp_path / "without", TEST)
    with pytest.raises(EvaluationError, match="without: holds no test target"):
        measure(folder, checkpoint, systems, CONFIG)


def test_a_system_that_gives_nan_is_refused(sequences, checkpoint, systems):
    class Broken(type(systems)):
        def __call__(self, histories):
            return {name: lambda users, s=s: s(users) * float("nan") for name, s in super().__call__(histories).items()}

    with pytest.raises(ScoreError, match="user index 1: the score of item index 1 is NaN"):
        measure(sequences, checkpoint, Broken(), CONFIG)


def test_an_altered_checkpoint_is_refused(sequences, checkpoint, systems, tmp_path):
    altered = shutil.copytree(checkpoint, tmp_path / "altered")
    (altered / "history.json").write_text('{"stages": []}', encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"history\.json: sha256 differs"):
        measure(sequences, altered, systems, CONFIG)
