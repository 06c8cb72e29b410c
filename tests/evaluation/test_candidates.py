"""The sampled protocol: what is drawn, what is kept, and ranks worked out by hand."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from present import present
from toy_sequences_by_hand import make_data
from toy_systems import ToySystems

from ur4rec.config_section import ConfigError
from ur4rec.data.sequences import Histories, load_sequences
from ur4rec.evaluation.candidates import KEYS_AT_ONCE, Candidates, draw_candidates, load_candidates, write_candidates
from ur4rec.evaluation.caveats import describe_sample
from ur4rec.evaluation.comparison import rank_systems
from ur4rec.evaluation.config import CandidateConfig, EvaluationConfig
from ur4rec.evaluation.evaluate import EvaluationError, ModelSystems, measure
from ur4rec.evaluation.history import TrainingHistory
from ur4rec.evaluation.report import render_report
from ur4rec.evaluation.results import Results, format_results, load_results
from ur4rec.ranking.metrics import metrics_from_ranks
from ur4rec.ranking.ranks import ScoreError, Scorer, rank_users
from ur4rec.storage.artifacts import ArtifactError, sha256_file

NOTHING_SEEN = Histories(np.zeros(4, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
SCORES = torch.tensor([[9.0, 5.0, 4.0, 4.0, 4.0, 1.0]])  # column 0 is padding


def make_histories(*items: Sequence[int]) -> Histories:
    offsets = np.cumsum([0, 0, *map(len, items)])
    flat = np.array([item for history in items for item in history], dtype=np.int64)
    return Histories(offsets, flat, np.arange(len(flat)))


def make_targets(*pairs: tuple[int, int]) -> NDArray[Any]:
    return np.array([(user, item, 0) for user, item in pairs], dtype=np.int64).reshape(-1, 3)


def draw(targets: NDArray[Any], touched: Histories, num_items: int, num_candidates: int, seed: int = 0) -> NDArray[Any]:
    return draw_candidates(targets, touched, num_items, num_candidates, np.random.default_rng(seed))


def test_a_user_with_just_enough_untouched_items_gets_them_all() -> None:
    touched = make_histories([1, 2, 5], [3, 4, 6])
    drawn = draw(make_targets((1, 5), (2, 6)), touched, 6, 3)
    assert drawn.tolist() == [[5, 3, 4, 6], [6, 1, 2, 5]]
    assert drawn.dtype == np.dtype("<i8")


def test_zeros_fill_up_where_the_catalogue_is_too_small() -> None:
    touched = make_histories([1, 2, 3], [1, 2, 3, 4])
    assert draw(make_targets((1, 3), (2, 4)), touched, 4, 6).tolist() == [[3, 4, 0, 0, 0, 0, 0], [4, 0, 0, 0, 0, 0, 0]]


def test_items_are_distinct_untouched_and_in_the_catalogue() -> None:
    generator = np.random.default_rng(1)
    items = [generator.choice(np.arange(1, 51), size=length, replace=True) for length in generator.integers(1, 30, 40)]
    targets = make_targets(*[(user, history[-1]) for user, history in enumerate(items, 1)])
    drawn = draw(targets, make_histories(*items), 50, 20)
    assert drawn[:, 0].tolist() == targets[:, 1].tolist()
    for history, row in zip(items, drawn[:, 1:], strict=True):
        assert len(set(row.tolist())) == 20
        assert not set(row.tolist()) & set(history.tolist())
        assert row.min() >= 1
        assert row.max() <= 50


def test_every_untouched_item_is_drawn_equally_often() -> None:
    """3 of 6 for each of 4,000 users: 2,000 times an item, with a standard deviation of 32."""
    num_users = 4000
    touched = make_histories(*[[7, 3]] * num_users)
    drawn = draw(make_targets(*[(user, 7) for user in range(1, num_users + 1)]), touched, 8, 3)
    counts = np.bincount(drawn[:, 1:].ravel(), minlength=9)
    assert counts[[0, 3, 7]].tolist() == [0, 0, 0]
    assert np.all(np.abs(counts[[1, 2, 4, 5, 6, 8]] - 2000) < 5 * 32)


def test_the_memory_limit_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, touched = make_targets(*[(user, 1) for user in range(1, 10)]), make_histories(*[[1]] * 9)
    whole = draw(targets, touched, 30, 5)
    assert KEYS_AT_ONCE > 9 * 31
    monkeypatch.setattr("ur4rec.evaluation.candidates.KEYS_AT_ONCE", 70)
    assert np.array_equal(draw(targets, touched, 30, 5), whole)
    assert not np.array_equal(draw(targets, touched, 30, 5, seed=1), whole)


def test_no_targets_give_no_rows() -> None:
    assert draw(make_targets(), make_histories([1]), 3, 2).shape == (0, 3)


@pytest.mark.parametrize(
    ("candidates", "ranks"),
    [
        ([3, 1, 5], [2, 2]),  # one higher
        ([3, 2, 4], [1, 3]),  # two equal
        ([3, 1, 2], [2, 3]),  # one higher, one equal
        ([3, 5, 0], [1, 1]),  # zero is nothing, however high column 0
        ([3, 0, 0], [1, 1]),
        ([5, 1, 2], [3, 3]),
    ],
)
def test_ranks_by_hand(candidates: list[int], ranks: list[int]) -> None:
    targets = make_targets((1, candidates[0]))
    drawn = np.array([candidates], dtype=np.int64)
    assert rank_users(lambda _: SCORES, targets, NOTHING_SEEN, 8, drawn).tolist() == [ranks]


def test_batch_size_changes_nothing() -> None:
    generator = np.random.default_rng(0)
    scores = torch.from_numpy(generator.integers(0, 5, (21, 12)).astype(np.float32))
    histories = [[item] for item in generator.integers(1, 12, 20).tolist()]
    targets = make_targets(*[(user, items[0]) for user, items in enumerate(histories, 1)])
    drawn = draw(targets, make_histories(*histories), 11, 4)
    ranks = [rank_users(lambda users: scores[users], targets, NOTHING_SEEN, size, drawn) for size in (1, 7, 50)]
    assert np.array_equal(ranks[0], ranks[1])
    assert np.array_equal(ranks[0], ranks[2])
    for user, row in enumerate(drawn.tolist(), 1):
        target, *others = scores[user, row].tolist()
        assert ranks[0][user - 1].tolist() == [
            1 + sum(x > target for x in others),
            1 + sum(x >= target for x in others),
        ]


def test_candidates_of_other_targets_are_refused() -> None:
    with pytest.raises(ScoreError, match="drawn for other data"):
        rank_users(lambda _: SCORES, make_targets((1, 3)), NOTHING_SEEN, 8, np.array([[2, 1]]))
    with pytest.raises(ScoreError, match="drawn for other data"):
        rank_users(lambda _: SCORES, make_targets((1, 3)), NOTHING_SEEN, 8, np.array([[3, 1], [3, 1]]))


def test_candidates_outside_the_scored_items_name_the_user() -> None:
    with pytest.raises(ScoreError, match="6 columns but a candidate of user index 2 is item index 9"):
        rank_users(
            lambda _: SCORES.expand(2, -1), make_targets((1, 3), (2, 3)), NOTHING_SEEN, 8, np.array([[3, 1], [3, 9]])
        )


def test_every_horizon_has_its_own_candidates(sequences: Path) -> None:
    data = load_sequences(sequences)
    drawn = Candidates(
        validation=np.stack([data.val[:, 1], np.zeros(len(data.val), np.int64)], axis=1),
        test=np.stack([data.test[:, 1], data.test[:, 1] % 30 + 1], axis=1),
        sha256={},
    )

    def systems_at(_: Histories) -> dict[str, Scorer]:
        return {"index": lambda users: torch.arange(31.0).expand(len(users), -1)}

    assert (rank_systems(data, systems_at, "validation", 8, drawn)["index"] == 1).all()
    rank = np.where(data.test[:, 1] < 30, 2, 1)  # item t + 1 scores higher; item 30 competes with item 1
    assert rank_systems(data, systems_at, "test", 8, drawn)["index"].tolist() == np.stack([rank, rank], 1).tolist()


def test_the_files_hold_what_is_ranked_and_are_the_same_every_time(sequences: Path, tmp_path: Path) -> None:
    data, config = load_sequences(sequences), CandidateConfig(num_candidates=5)
    drawn = [write_candidates(tmp_path / name, sequences, data, config) for name in ("one", "two", "two")]
    other = write_candidates(tmp_path / "other", sequences, data, CandidateConfig(num_candidates=5, candidate_seed=7))
    assert drawn[0].sha256 == drawn[1].sha256 == drawn[2].sha256 != other.sha256
    file = tmp_path / "one" / "test_candidates.npy"
    assert drawn[0].sha256["test"] == sha256_file(file)
    array = np.load(file, allow_pickle=False)
    assert (array.shape, array.dtype) == ((len(data.test), 6), np.dtype(np.int64))
    assert np.array_equal(array[:, 0], data.test[:, 1])
    full = data.histories("full")
    for (user, _, _), row in zip(data.test.tolist(), array[:, 1:].tolist(), strict=True):
        assert not set(row) & set(full.items[full.offsets[user] : full.offsets[user + 1]].tolist())
    assert not np.array_equal(array[:, 1:], drawn[0].validation[:, 1:])


def test_altered_and_other_folders_are_refused(sequences: Path, tmp_path: Path) -> None:
    data = load_sequences(sequences)
    write_candidates(tmp_path / "drawn", sequences, data, CandidateConfig())
    with (tmp_path / "drawn" / "test_candidates.npy").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ArtifactError, match=r"test_candidates\.npy: sha256 differs"):
        load_candidates(tmp_path / "drawn", data)
    with pytest.raises(ArtifactError, match="written by 'preprocess_sequences'; expected a folder of 'draw_"):
        load_candidates(sequences, data)


SAMPLED = EvaluationConfig(bootstrap_samples=100, eval_protocol="sampled", num_candidates=6)


@pytest.fixture
def sampled(sequences: Path, checkpoint: Path, systems: ToySystems, tmp_path: Path) -> tuple[Results, TrainingHistory]:
    return measure(sequences, checkpoint, systems, SAMPLED, candidates=tmp_path / "candidates")


def test_every_system_is_ranked_on_the_files(
    sampled: tuple[Results, TrainingHistory], sequences: Path, systems: ToySystems, tmp_path: Path
) -> None:
    data = load_sequences(sequences)
    drawn = load_candidates(tmp_path / "candidates", data)
    seen = data.histories("test")
    expected = metrics_from_ranks(rank_users(systems(seen)["sasrec"], data.test, seen, 256, drawn.test))
    results = sampled[0]
    assert {name: item.value for name, item in results.test["sasrec"].items()} == pytest.approx(expected)
    assert list(results.test) == ["UR4RecV2MoE", "sasrec", "recency_ease", "popularity"]
    assert all(values["hit@10"].value == 1.0 for values in results.test.values())  # the worst rank is 7
    assert all(values["hit@10"] == 1.0 for values in results.validation_systems.values())


def test_seen_items_change_no_candidate_and_a_repeat_is_ranked_among_untouched_items(
    sampled: tuple[Results, TrainingHistory],
    sequences: Path,
    checkpoint: Path,
    including: ModelSystems,
    tmp_path: Path,
) -> None:
    included, _ = measure(sequences, checkpoint, including, SAMPLED, candidates=tmp_path / "others")
    excluded, _ = sampled
    assert included.protocol.candidates == excluded.protocol.candidates
    assert included.test["sasrec"] == excluded.test["sasrec"]
    assert included.lists["sasrec"] != excluded.lists["sasrec"]
    assert included.protocol.seen_items == "included"
    assert "again" in included.test
    assert "a target may be an item that its user had before" in render_report(included, sampled[1])


def test_that_a_repeated_target_is_easy_in_a_sample_is_said() -> None:
    data = make_data([(1, 1, 1), (1, 2, 2), (2, 1, 1)], [(1, 3, 3), (2, 2, 2)], [(1, 1, 4), (2, 3, 3)])
    drawn = Candidates(np.zeros((2, 1), np.int64), np.array([[1, 4], [3, 4]]), {})
    assert "the target itself (50.0% of them were)" in describe_sample(data, drawn)[-1]
    plain = replace(data, test=np.array([(1, 4, 4), (2, 3, 3)]))
    assert len(describe_sample(plain, drawn)) == 1


def test_results_tell_the_protocol(sampled: tuple[Results, TrainingHistory], tmp_path: Path) -> None:
    results = sampled[0]
    (tmp_path / "results.json").write_text(format_results(results, tmp_path), encoding="utf-8")
    protocol = load_results(tmp_path / "results.json").protocol
    assert protocol.eval_protocol == "sampled"
    assert (present(protocol.candidates).num_candidates, present(protocol.candidates).seed) == (6, 42)
    for horizon, digest in present(protocol.candidates).sha256.items():
        assert digest == sha256_file(tmp_path / "candidates" / f"{horizon}_candidates.npy")
    assert set(present(protocol.candidates).sha256) == {"validation", "test"}
    assert str(protocol).startswith("leave_one_out, sampled ranking of the target and 6 others, seen items excluded")
    assert any("cannot be compared" in note for note in results.notes)


def test_the_report_tells_the_protocol(
    sampled: tuple[Results, TrainingHistory], measured: tuple[Results, TrainingHistory]
) -> None:
    text = render_report(*sampled)
    assert "<b>Sampled:</b> each target is ranked among itself and 6 items that its user never touched" in text
    assert present(sampled[0].protocol.candidates).sha256["test"] in text
    assert "Training validates on the whole catalogue" in text
    assert "The whole catalogue of" not in text
    assert "dashed lines are other systems" not in text
    full = render_report(*measured)
    assert "The whole catalogue of" in full
    assert "dashed lines are other systems" in full
    assert "Sampled" not in full


def test_users_with_too_few_untouched_items_are_said_to_be(
    sequences: Path, checkpoint: Path, systems: ToySystems, tmp_path: Path
) -> None:
    config = SAMPLED.model_copy(update={"num_candidates": 99})
    results, _ = measure(sequences, checkpoint, systems, config, candidates=tmp_path / "candidates")
    assert "24 of 24 test users left fewer than 99 items untouched" in " ".join(results.notes)


def test_the_full_protocol_writes_no_candidates(
    sequences: Path, checkpoint: Path, systems: ToySystems, tmp_path: Path
) -> None:
    config = EvaluationConfig(bootstrap_samples=100)
    results, _ = measure(sequences, checkpoint, systems, config, candidates=tmp_path / "candidates")
    assert results.protocol.candidates is None
    assert not list(tmp_path.iterdir())


def test_the_sampled_protocol_needs_a_place_to_write(sequences: Path, checkpoint: Path, systems: ToySystems) -> None:
    with pytest.raises(EvaluationError, match="needs a folder"):
        measure(sequences, checkpoint, systems, SAMPLED)


@pytest.mark.parametrize("values", [{"eval_protocol": "half"}, {"num_candidates": 0}, {"candidate_seed": -1}])
def test_values_out_of_range_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        EvaluationConfig.parse(values)
