from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_sequences_by_hand import make_data

from ur4rec.data.config import DataConfig
from ur4rec.data.errors import SourceError
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import Histories, Sequences, load_sequences
from ur4rec.data.sources import fetch
from ur4rec.evaluation import baselines
from ur4rec.evaluation.baselines import (
    BASELINES,
    EASE,
    Again,
    Baselines,
    Popularity,
    RecencyEASE,
    TrainingPrefixes,
    fit_ease,
)
from ur4rec.evaluation.config import BaselineName, EvaluationConfig
from ur4rec.ranking.metrics import metrics_from_ranks
from ur4rec.ranking.ranks import ScoreError, rank_users


def make_histories(*items: Sequence[int]) -> Histories:
    flat = np.array([item for history in items for item in history], dtype=np.int64)
    return Histories(np.cumsum([0, 0, *map(len, items)]), flat, np.arange(len(flat)))


def with_weights(weights: Tensor) -> Any:
    return SimpleNamespace(ease_weights=weights)


def test_popularity_counts_interactions() -> None:
    histories = make_histories([1, 2], [2, 3, 2])
    scores = Popularity(TrainingPrefixes(histories, num_items=4), histories)(np.array([2, 1, 2]))
    assert scores.tolist() == [[0, 1, 3, 1, 0]] * 3


def test_ease_weights_by_hand() -> None:
    # Users have items {1, 2} and {1}: XᵀX + I = [[3, 1], [1, 2]], its inverse [[2, -1], [-1, 3]] / 5.
    weights = fit_ease(make_histories([1, 2], [1]), num_items=2, l2=1.0)
    assert weights == pytest.approx(torch.tensor([[0, 0, 0], [0, 0, 1 / 3], [0, 1 / 2, 0]]))


def test_ease_sees_an_item_once_however_often_it_was_consumed() -> None:
    once, twice = (fit_ease(make_histories(history, [1]), 2, l2=1.0) for history in ([1, 2], [1, 2, 1, 2]))
    assert torch.equal(once, twice)


@pytest.mark.parametrize("columns_at_once", [3, 1024])
def test_ease_weights_equal_the_dense_closed_form(monkeypatch: pytest.MonkeyPatch, columns_at_once: int) -> None:
    monkeypatch.setattr(baselines, "_COLUMNS_AT_ONCE", columns_at_once)
    rng = np.random.default_rng(0)
    items = [rng.choice(np.arange(1, 8), size=rng.integers(1, 6), replace=False).tolist() for _ in range(20)]
    matrix = np.zeros((20, 8))
    for user, history in enumerate(items):
        matrix[user, history] = 1.0
    precision = np.linalg.inv(matrix.T @ matrix + 2.0 * np.eye(8))
    expected = -precision / np.diag(precision)
    np.fill_diagonal(expected, 0.0)
    assert fit_ease(make_histories(*items), 7, l2=2.0).numpy() == pytest.approx(expected, abs=1e-6)


def test_ease_without_regularisation_is_refused() -> None:
    with pytest.raises(ScoreError, match="positive"):
        fit_ease(make_histories([1]), 1, l2=0.0)


def test_ease_query_is_binary() -> None:
    scorer = EASE(with_weights(torch.eye(5)), make_histories([1, 2, 1], [], [4]))
    assert scorer(np.array([3, 1, 2])).tolist() == [[0, 0, 0, 0, 1], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]]


def test_recency_query_decays_with_age() -> None:
    scorer = RecencyEASE(with_weights(torch.eye(5)), make_histories([4, 1, 2], [3]))
    assert scorer(np.array([1, 2])) == pytest.approx(torch.tensor([[0, 0.9, 1, 0, 0.81], [0, 0, 0, 1.0, 0]]))


def test_recency_query_holds_the_last_thirty_items() -> None:
    scores = RecencyEASE(with_weights(torch.eye(41)), make_histories(list(range(1, 41))))(np.array([1]))[0]
    assert (scores[1:11] == 0).all()
    assert scores[11:] == pytest.approx(torch.tensor([0.9**age for age in range(29, -1, -1)]))


def test_recency_query_adds_up_repeats() -> None:
    scores = RecencyEASE(with_weights(torch.eye(3)), make_histories([1, 2, 1]))(np.array([1]))
    assert scores == pytest.approx(torch.tensor([[0, 1 + 0.81, 0.9]]))


def test_what_was_had_comes_by_recency_and_frequency_and_the_rest_by_popularity() -> None:
    # Ages of the first user's items: 4 and 2 of item 1, 3 of item 2, 1 of item 3.
    histories = make_histories([1, 2, 1, 3], [], [4, 4, 5])
    scores = Again(TrainingPrefixes(histories, num_items=5), histories)(np.array([3, 1, 2]))
    expected = torch.tensor([0, 1 / 2 + 2**-0.5, 3**-0.5, 1, -1, -2])
    assert scores[1, 1:] == pytest.approx(expected[1:])
    assert scores[1].argsort(descending=True)[:5].tolist() == [1, 3, 2, 4, 5]
    assert scores[2, 1:].tolist() == [-1, -2, -2, -1, -2]  # of nobody in particular: popularity alone
    assert scores[0, 1:] == pytest.approx(torch.tensor([-1, -2, -2, 3**-0.5 + 2**-0.5, 1]))


def test_again_stands_in_every_table_where_repeats_count_and_once(data: Sequences) -> None:
    seen = data.histories("test")
    assert list(Baselines(data, EvaluationConfig(), excludes_seen=False)(seen)) == [
        "again",
        "recency_ease",
        "popularity",
    ]
    for names in ((), ("again",)):
        assert list(Baselines(data, EvaluationConfig(baselines=names), excludes_seen=False)(seen)) == ["again"]
    assert list(Baselines(data, EvaluationConfig(baselines=("again",)))(seen)) == ["again"]
    assert "again" in Baselines(data, EvaluationConfig(ease_max_items=1), excludes_seen=False)(seen)


def test_padding_gets_no_weight() -> None:
    weights = fit_ease(make_histories([1, 2], [2, 3]), 3)
    assert not weights[0].any()
    assert not weights[:, 0].any()


def test_baselines_are_those_configured(data: Sequences) -> None:
    seen = data.histories("test")
    assert list(Baselines(data, EvaluationConfig())(seen)) == ["recency_ease", "popularity"]
    assert list(Baselines(data, EvaluationConfig(baselines=("ease",)))(seen)) == ["ease"]
    assert list(Baselines(data, EvaluationConfig(baselines=()))(seen)) == []


def test_baselines_are_fitted_on_the_training_prefixes_alone(data: Sequences) -> None:
    other = make_data(data.train, [(1, 5, 30), (2, 5, 60)], [(1, 3, 35), (2, 4, 70)])
    config, users = EvaluationConfig(baselines=("popularity", "ease", "recency_ease")), np.array([1, 2])
    seen = data.histories("validation")
    for name, scorer in Baselines(data, config)(seen).items():
        assert torch.equal(scorer(users), Baselines(other, config)(seen)[name](users))


def test_ease_is_left_out_of_large_catalogues_and_says_so(data: Sequences) -> None:
    baselines = Baselines(data, EvaluationConfig(ease_max_items=4))
    assert list(baselines(data.histories("test"))) == ["popularity"]
    assert baselines.notes == ["recency_ease was left out: 5 items are more than ease_max_items (4)"]
    assert Baselines(data, EvaluationConfig(ease_max_items=5)).notes == []


def test_every_baseline_can_be_configured_is_described_and_is_in_the_docs() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert set(get_args(BaselineName)) == set(BASELINES)
    for name, baseline in BASELINES.items():
        assert f"| `{name}` |" in docs
        assert len(baseline.description) > 20


def test_ease_is_fitted_once_for_all_that_need_it(data: Sequences, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[tuple[Any, ...]] = []

    def fit(*arguments: Any) -> Tensor:
        fitted.append(arguments)
        return torch.zeros(6, 6)

    monkeypatch.setattr(baselines, "fit_ease", fit)
    systems = Baselines(data, EvaluationConfig(baselines=("ease", "recency_ease")))
    for horizon in ("validation", "test"):
        for scorer in systems(data.histories(horizon)).values():
            scorer(np.array([1, 2]))
    assert len(fitted) == 1


@pytest.fixture(scope="module")
def ml100k(tmp_path_factory: pytest.TempPathFactory) -> Sequences:
    try:
        source = fetch("ml-100k")
    except SourceError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("ml100k") / "sequences"
    preprocess_sequences(source, folder, DataConfig())
    return load_sequences(folder)


@pytest.mark.ml100k
@pytest.mark.parametrize(
    ("name", "ndcg", "hit", "mrr"),
    [
        ("popularity", 0.0441, 0.0848, 0.0409),
        ("ease", 0.0728, 0.1400, 0.0680),
        ("recency_ease", 0.1002, 0.1835, 0.0917),
    ],
)
def test_published_figures_on_ml100k(ml100k: Sequences, name: str, ndcg: float, hit: float, mrr: float) -> None:
    seen = ml100k.histories("test")
    scorer = Baselines(ml100k, EvaluationConfig(baselines=(name,)))(seen)[name]
    metrics = metrics_from_ranks(rank_users(scorer, ml100k.test, seen, batch_size=256))
    found = [metrics[key] for key in ("ndcg@10", "hit@10", "mrr")]
    assert found == pytest.approx([ndcg, hit, mrr], abs=1e-4)
