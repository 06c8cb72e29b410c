from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from toy_sequences_by_hand import make_data

from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.evaluation.baselines import Baselines
from ur4rec.evaluation.candidates import write_candidates
from ur4rec.evaluation.comparison import (
    estimate_lists,
    estimate_slices,
    estimate_systems,
    later_interactions_share,
    rank_systems,
)
from ur4rec.evaluation.config import CandidateConfig, EvaluationConfig
from ur4rec.ranking.bootstrap import bootstrap_means
from ur4rec.ranking.lists import Coverage, ListMetric, Lists, Novelty, PopularityBias
from ur4rec.ranking.metrics import METRICS


def by_item_index(users: NDArray[Any]) -> torch.Tensor:
    return torch.arange(6.0).expand(len(users), -1)


def test_each_horizon_has_its_targets_and_its_seen_items(data: Sequences) -> None:
    ranks = {h: rank_systems(data, lambda _: {"index": by_item_index}, h, 8)["index"] for h in ("validation", "test")}
    assert ranks["validation"].tolist() == [[3, 3], [2, 2]]  # 4 and 5 are higher than 3; 5 is higher than 4
    assert ranks["test"].tolist() == [[2, 2], [1, 1]]


def test_estimates_and_differences_by_hand() -> None:
    ranks = {"a": np.array([[1, 1], [2, 2]]), "b": np.array([[2, 2], [2, 2]])}
    test, differences = estimate_systems(ranks, samples=200)
    assert tuple(test["a"]) == METRICS
    assert test["a"]["mrr"].value == 0.75
    assert test["a"]["mrr"].ci95 == (0.5, 1.0)
    assert test["b"]["mrr"].ci95 == (0.5, 0.5)
    assert list(differences) == ["b"]
    assert differences["b"]["mrr"].value == 0.25
    assert differences["b"]["mrr"].ci95 == (0.0, 0.5)


def test_popularity_that_ties_everywhere_hits_by_chance(tmp_path: Path) -> None:
    """126 users, 21 items, each equally often: three items are seen, so the target is one of 18 that tie."""
    rows = [f"{u},{(u + 5 * j + u // 21) % 21},{1_000_000 + 10 * u + j}" for u in range(126) for j in range(4)]
    (tmp_path / "plays.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    preprocess_sequences(tmp_path / "plays.csv", tmp_path / "sequences", DataConfig(min_seq_len=3))
    data, config = load_sequences(tmp_path / "sequences"), EvaluationConfig(baselines=("popularity",))
    assert len(data.test) == 126
    baselines = Baselines(data, config)
    test, _ = estimate_systems(rank_systems(data, baselines, "test", 50), samples=100)
    assert test["popularity"]["hit@10"].value == pytest.approx(10 / 18)
    assert test["popularity"]["ndcg@10"].value == pytest.approx(
        sum(1 / np.log2(rank + 1) for rank in range(1, 11)) / 18
    )
    drawn = write_candidates(tmp_path / "drawn", tmp_path / "sequences", data, CandidateConfig(num_candidates=14))
    test, _ = estimate_systems(rank_systems(data, baselines, "test", 50, drawn), samples=100)
    assert test["popularity"]["hit@10"].value == pytest.approx(10 / 15)


def test_slices_of_ties_have_the_mean_over_the_places(data: Sequences) -> None:
    (part, *_) = estimate_slices(data, {"a": np.array([[1, 20], [1, 4]])}, 100, lambda _: {})
    assert (part.test["a"]["hit@10"].value, part.test["a"]["hit@1"].value) == (10 / 20, 1 / 20)


def test_a_single_system_has_no_differences() -> None:
    test, differences = estimate_systems({"a": np.array([[3, 3]])}, samples=100)
    assert test["a"]["hit@5"].value == 1.0
    assert differences == {}


def test_slices_split_the_test_users_twice(data: Sequences) -> None:
    ranks = {"a": np.array([[1, 1], [4, 4]])}
    slices = estimate_slices(data, ranks, 100, lambda users: {"only": float(users.mean())})
    by_length = [part for part in slices if part.by == "history_length"]
    assert [(part.low, part.high, part.num_users) for part in by_length] == [(3, 3, 1), (4, 4, 1)]
    assert [part.test["a"]["mrr"].value for part in by_length] == [1.0, 0.25]
    assert [part.expert_weights for part in by_length] == [{"only": 1.0}, {"only": 2.0}]
    by_popularity = [part for part in slices if part.by == "target_popularity"]
    assert [(part.name, part.num_users) for part in by_popularity] == [("cold", 2)]  # items 4, 5: not in training
    assert by_popularity[0].expert_weights == {"only": 1.5}


def test_fixed_slices_count_training_interactions_and_have_paired_leads() -> None:
    """Item 1 has five training interactions, item 2 one, item 3 none; every test history has two interactions."""
    data = make_data(
        train=[(user, item, 1) for user, item in enumerate((1, 1, 1, 1, 1, 2), 1)],
        val=[(user, 4, 2) for user in range(1, 7)],
        test=[(user, item, 3) for user, item in enumerate((1, 2, 3, 1, 2, 1), 1)],
    )
    first, other = ([[rank, rank] for rank in ranks] for ranks in ([1, 3, 1, 1, 1, 3], [3, 3, 30, 3, 3, 1]))
    slices = estimate_slices(data, {"a": np.array(first), "b": np.array(other)}, 100, lambda _: {})
    by_count = {part.name: part for part in slices if part.by == "target_count"}
    assert {name: (part.low, part.high, part.num_users) for name, part in by_count.items()} == {
        "0": (0, 0, 1),
        "1-4": (1, 1, 2),
        "5-9": (5, 5, 3),
    }
    leads = {name: part.differences["b"]["ndcg@10"] for name, part in by_count.items()}
    assert {name: lead.value for name, lead in leads.items()} == pytest.approx({"0": 1, "1-4": 0.25, "5-9": 0.5 / 3})
    assert leads["5-9"].ci95 == pytest.approx((-0.5, 0.5), abs=0.2)  # the leads of its users: 0.5, 0.5 and −0.5
    assert list(by_count["0"].differences["b"]) == ["ndcg@10", "hit@10", "mrr"]
    assert [(part.name, part.num_users) for part in slices if part.by == "history_count"] == [("0-4", 6)]


def test_later_interactions_of_others_by_hand(data: Sequences) -> None:
    # User 1 (target at 35): 2 of the 3 interactions of user 2 are later. User 2 (target at 70): none of 2.
    assert later_interactions_share(data) == pytest.approx((2 / 3 + 0) / 2)


def test_later_interactions_of_a_lone_user_are_none() -> None:
    assert later_interactions_share(make_data([(1, 1, 1), (1, 2, 2)], [(1, 3, 3)], [(1, 4, 4)])) == 0.0


Metric = TypeVar("Metric", bound=ListMetric)


def show(metric: Metric, *lists: Sequence[int]) -> Metric:
    """Shows a metric the lists of some users, whose items are there for sure."""
    users = np.repeat(np.arange(len(lists)), [len(items) for items in lists])
    items = np.array([item for each in lists for item in each], dtype=np.int64)
    metric.add(Lists(users, items, np.ones(len(items)), len(lists)))
    return metric


def test_a_mean_over_lists_has_the_interval_of_a_quotient_over_users(data: Sequences) -> None:
    lists = ([1, 2], [5], [2], [1, 4])
    metric = show(PopularityBias(data), *lists)
    values = metric.item_values()
    figures = estimate_lists({"a": [metric], "b": [show(Coverage(data), *lists)]}, samples=200)
    sums = np.array([[values[items].sum(), len(items)] for items in lists])
    drawn = bootstrap_means(sums, 200)
    assert figures["a"][PopularityBias.name].value == pytest.approx(sums[:, 0].sum() / sums[:, 1].sum())
    expected = np.quantile(drawn[:, 0] / drawn[:, 1], (0.025, 0.975))
    assert figures["a"][PopularityBias.name].ci95 == pytest.approx(tuple(expected))
    assert figures["b"] == {Coverage.name: figures["b"][Coverage.name]}
    assert figures["b"][Coverage.name].ci95 is None


def test_users_without_a_list_do_not_count(data: Sequences) -> None:
    metric = show(PopularityBias(data), [], [2])
    figure = estimate_lists({"a": [metric]}, samples=100)["a"][PopularityBias.name]
    assert figure.value == metric.item_values()[2]
    assert figure.ci95 == (figure.value, figure.value)


def test_where_no_list_holds_an_item_a_mean_is_left_out(data: Sequences) -> None:
    found = estimate_lists(
        {"a": [show(metric(data), []) for metric in (Coverage, Novelty, PopularityBias)]}, samples=100
    )
    assert {name: figure.value for name, figure in found["a"].items()} == {Coverage.name: 0.0}
