"""What is served as of an earlier time is what the evaluation ranked."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from toy_runs import Trained

from ur4rec.data.sequences import load_sequences
from ur4rec.evaluation.systems import TrainedSystems
from ur4rec.recommender.recommender import Recommender
from ur4rec.recommender.requests import Request, resolve
from ur4rec.training.checkpoints import load_model


@pytest.fixture(scope="module")
def recommender(bundle: Path) -> Recommender:
    return Recommender.load(bundle)


@pytest.mark.parametrize("horizon", ["validation", "test"])
def test_scores_at_a_horizon_are_the_evaluations(
    recommender: Recommender, trained: Trained, horizon: Literal["validation", "test"]
) -> None:
    sequences = load_sequences(trained.sequences)
    seen = sequences.histories(horizon)
    model = load_model(trained.checkpoint)
    systems = TrainedSystems(model, None, "served", model.config.whole)
    users = np.arange(1, sequences.num_users + 1)
    expected = systems(seen)["served"](users).detach().numpy()
    requests = [
        Request(sequences.user_ids[user], seq_end=int(seen.lengths[user]), k=10_000, exclude_seen=False)
        for user in users
    ]
    answers = recommender.answer([resolve(request, recommender.bundle) for request in requests])
    for answer, row in zip(answers, expected, strict=True):
        assert len(answer.items) == sequences.num_items
        assert answer.scores == pytest.approx(row[answer.items], abs=1e-5)


def test_the_horizon_moves_scores_and_asking_leaves_memories_as_they_were(recommender: Recommender) -> None:
    user = next(iter(recommender.bundle.user_index))
    ask = [Request(user), Request(user, seq_end=1), Request(user)]
    now, early, again = (recommender.answer([resolve(request, recommender.bundle)])[0] for request in ask)
    assert now.scores.tolist() == again.scores.tolist()
    assert now.scores.tolist() != early.scores.tolist()


def test_an_item_just_seen_is_never_recommended(recommender: Recommender) -> None:
    bundle = recommender.bundle
    requests, left_out = [], []
    for user, index in bundle.user_index.items():
        history = bundle.histories.items[bundle.histories.offsets[index] : bundle.histories.offsets[index + 1]]
        inline = [str(bundle.item_ids[item]) for item in history]
        requests += [Request(user, k=10_000), Request(history=inline, k=10_000), Request(user, seq_end=2, k=10_000)]
        left_out += [history, history, history[:2]]
    answers = recommender.answer([resolve(request, bundle) for request in requests])
    for answer, seen in zip(answers, left_out, strict=True):
        assert set(answer.items) == set(range(1, bundle.num_items + 1)) - set(seen)
