from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.peer_closed import (
    CooccurrenceForm,
    CooccurrenceTextForm,
    Form,
    Grid,
    PopularityForm,
    RecencyEASEForm,
    TextForm,
    Values,
    fit,
    search,
)
from benchmarks.peer_exchange import Recorder, Split
from ur4rec.data.sequences import Histories
from ur4rec.evaluation.baselines import fit_ease
from ur4rec.models.config import CooccurrenceConfig
from ur4rec.models.cooccurrence import CooccurrenceScorer
from ur4rec.ranking.ranks import Scorer
from ur4rec.training.cooccurrence import count_pairs, fit_table

HISTORIES = Histories(np.array([0, 0, 3, 5]), np.array([1, 2, 3, 1, 3]), np.arange(5))
TARGETS = np.array([[1, 4, 0], [2, 2, 0]])
SPLIT = Split(4, {"validation": HISTORIES, "test": HISTORIES}, {"validation": TARGETS, "test": TARGETS})
TEXTS = np.array([[0, 0], [1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=np.float32)
"""Four texts without a mean and of equal variance in each direction, so that whitening leaves their angles alone."""
USERS = np.array([1, 2])
BESIDE = {
    "cooccurrence_age_decay": 0.5,
    "cooccurrence_smoothing": 0.0,
    "cooccurrence_window": 1,
    "cooccurrence_gap_decay": 1.0,
}


def test_popularity_counts_the_training_prefixes() -> None:
    assert PopularityForm(SPLIT).scorer(HISTORIES, {})(USERS).tolist() == [[0, 2, 1, 2, 0]] * 2


def test_cooccurrence_by_hand() -> None:
    """Pairs 1-2, 2-3 and 1-3, each once: every item has two, so that every strength is a half."""
    scores = CooccurrenceForm(SPLIT).scorer(HISTORIES, BESIDE)(USERS)
    raw = torch.tensor([[0, 0.5 + 0.25, 0.5 + 0.125, 0.25 + 0.125, 0], [0, 0.5, 0.5 + 0.25, 0.25, 0]])
    assert torch.allclose(scores, torch.log1p(raw / 0.01))


def test_cooccurrence_is_the_scorer_of_the_model() -> None:
    config = CooccurrenceConfig.parse(BESIDE | {"cooccurrence_window": 2})
    scorer = CooccurrenceScorer(4, config)
    scorer.fill(fit_table(count_pairs(HISTORIES, 4, config), config))
    expected = scorer.last(torch.tensor([[1, 2, 3], [1, 3, 0]]))
    scores = CooccurrenceForm(SPLIT).scorer(HISTORIES, BESIDE | {"cooccurrence_window": 2})(USERS)
    assert torch.allclose(scores, expected)


def test_text_by_hand() -> None:
    """User 2 has item 1 and then item 3, which stand at a right angle; item 1 counts half."""
    scores = TextForm(SPLIT, TEXTS).scorer(HISTORIES, {"text_decay": 0.5, "text_components": 2})(USERS[1:])
    near, far = 1 / np.sqrt(1.25), 0.5 / np.sqrt(1.25)
    assert torch.allclose(scores, torch.tensor([[0, far, -near, near, -far]], dtype=torch.float32), atol=1e-3)


def test_cooccurrence_and_text_are_added_with_the_weight() -> None:
    text = {"text_decay": 0.5, "text_components": 2}
    both = CooccurrenceTextForm(SPLIT, TEXTS).scorer(HISTORIES, BESIDE | text | {"text_weight": 3.0})(USERS)
    beside = CooccurrenceForm(SPLIT).scorer(HISTORIES, BESIDE)(USERS)
    assert torch.allclose(both, beside + 3 * TextForm(SPLIT, TEXTS).scorer(HISTORIES, text)(USERS))


def test_recency_ease_by_hand() -> None:
    weights = fit_ease(HISTORIES, 4, 3.0)
    scores = RecencyEASEForm(SPLIT).scorer(HISTORIES, {"l2": 3.0, "decay": 0.5})(USERS)
    assert torch.allclose(scores[1], weights[3] + 0.5 * weights[1])


class Shaped(Form):
    """As many items rank before the target as two numbers are away from 3 and 1."""

    grid = {"first": (0, 1, 3), "second": (0, 1, 2)}  # noqa: RUF012
    tried: list[tuple[int, int]]

    def scorer(self, _histories: Histories, values: Values) -> Scorer:
        self.tried.append((values["first"], values["second"]))
        distance = abs(values["first"] - 3) + abs(values["second"] - 1)
        scores = torch.zeros(7)
        scores[6], scores[1 : 1 + distance] = 1, 2
        return lambda users: scores.repeat(len(users), 1)


def test_each_parameter_is_tried_in_turn_and_no_values_twice() -> None:
    targets = np.array([[1, 6, 0]])
    empty = Histories(np.array([0, 0, 0]), np.zeros(0, np.int64), np.zeros(0, np.int64))
    split = Split(6, {"validation": empty, "test": empty}, {"validation": targets, "test": targets})
    form, recorder = Shaped(split), Recorder(split, "toy")
    form.tried = []
    recorder.start()
    assert search(form, recorder) == {"first": 3, "second": 1}
    assert len(form.tried) == len(set(form.tried))
    assert len(recorder.curve) == len(form.tried)


def test_a_fit_is_chosen_on_validation_and_ranked_on_both(tmp_path: Path) -> None:
    np.save(tmp_path / "texts.npy", TEXTS)
    run = fit(SPLIT, "cooccurrence-text", tmp_path / "texts.npy", limit_s=float("inf"))
    grid: Grid = CooccurrenceTextForm.grid
    assert all(value in grid[name] for name, value in run.chosen.items())
    assert run.best.ndcg == pytest.approx(max(point.ndcg for point in run.curve))
    assert run.ranks["test"].shape == (2, 2)
    run.save(tmp_path / "run.npz")
    assert type(run).load(tmp_path / "run.npz").chosen == run.chosen
