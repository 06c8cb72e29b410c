"""Measures what the rules are about: quality per user, breadth and popularity of the lists, latency, size.

Letters: T ranked users.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ur4rec.columns import ITEM, USER
from ur4rec.data.sequences import Histories, Sequences
from ur4rec.data.training_extent import find_indices
from ur4rec.evaluation.baselines import Popularity, TrainingPrefixes
from ur4rec.evaluation.caveats import find_repeats
from ur4rec.evaluation.slices import COLD, popularity_groups, quantile_groups
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.ranking.lists import Coverage, PopularityBias
from ur4rec.ranking.metrics import per_user_metrics
from ur4rec.ranking.ranks import Scorer, rank_users
from ur4rec.recommender.bundle import Bundle, load_bundle, load_scorer
from ur4rec.recommender.recommender import Recommender
from ur4rec.training.scoring import ModelScorer

METRIC = "ndcg@10"
TOP = 10
BATCH_SIZE = 256
MAX_SCORES = 1 << 24
REPETITIONS = 3
STRIDE = 7919
"""A prime, so that the users asked for are spread over all."""
LOAD_ERRORS = (ValueError, RuntimeError, OSError, KeyError)
"""A model raises these whose files are gone, altered, or of a schema that this release does not read."""


class UnscorableError(ValueError):
    """A model that cannot be scored on the data it is given; says why."""


class LoadedModel:
    """A bundle with its model in memory.

    Args:
        path: The bundle folder.
        device: Where to compute.

    Raises:
        UnscorableError: It cannot be loaded.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        try:
            self.bundle = load_bundle(path)
            self._scorer = load_scorer(path, self.bundle.histories, device)
            self.bundle.manifest.details["training_cutoff_s"]  # as old bundles have none
        except LOAD_ERRORS as error:
            raise UnscorableError(" ".join(f"{type(error).__name__}: {error}".split())) from None

    @property
    def recommender(self) -> Recommender:
        """The model as it serves."""
        return Recommender(self.bundle, self._scorer)

    @property
    def size_mb(self) -> float:
        """Size of the bundle's files, in MiB."""
        return sum(path.stat().st_size for path in self.bundle.path.iterdir()) / 2**20

    def scorer(self, data: Sequences, histories: Histories) -> CatalogueScorer:
        """Scores the users and items of `data` from `histories`; the model's memories become those of `histories`.

        Raises:
            UnscorableError: It knows no item of the data.
        """
        return CatalogueScorer(self.bundle, self._scorer.model, data, histories)


class CatalogueScorer:
    """A model's scores for the users and items of other data.

    Users are scored from the histories given here, those the model does not know like an inline history. Items that it
    does not know get minus infinity: it cannot recommend them. A user none of whose items it knows gets the model's
    popularity fallback, as when it serves.

    Args:
        bundle: Tables of the model.
        model: The model itself.
        data: Whose indices come in and whose catalogue goes out.
        histories: What each user of `data` did before the target.

    Raises:
        UnscorableError: The catalogues have no item in common.
    """

    def __init__(self, bundle: Bundle, model: UR4RecV2MoE, data: Sequences, histories: Histories) -> None:
        self._bundle = bundle
        self._item_of = find_indices(data.item_ids, bundle.item_index)
        self._user_of = find_indices(data.user_ids, bundle.user_index)
        if not self._item_of.any():
            raise UnscorableError(f"it knows none of the {data.num_items:,} items of the data: the catalogue is new")
        self._mapped = histories.rename_items(self._item_of)  # the others are unknown, as when it serves
        self._scorer = ModelScorer(model, _map_users(self._mapped, self._user_of, len(bundle.user_index)))

    def __call__(self, users: np.ndarray) -> Float[Tensor, "B N1"]:
        """Scores of the data's catalogue for users of the data; column 0 is padding."""
        scores = torch.empty(len(users), len(self._bundle.item_ids), device=self._scorer.device)
        known = self._user_of[users] > 0
        empty = self._mapped.lengths[users] == 0
        if known.any():
            scores[torch.from_numpy(known)] = self._scorer(self._user_of[users[known]])
        if not known.all():
            histories = [self._history(user) for user in users[~known]]
            scores[torch.from_numpy(~known)] = self._scorer.score_histories(*zip(*histories, strict=True))
        scores[torch.from_numpy(empty)] = torch.from_numpy(self._bundle.popularity).to(scores)
        columns = torch.from_numpy(self._item_of).to(scores.device)
        return scores[:, columns].masked_fill_(columns == 0, float("-inf"))

    def _history(self, user: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(*self._mapped.offsets[user : user + 2])
        return self._mapped.items[rows], self._mapped.timestamps[rows]


def _map_users(histories: Histories, user_of: np.ndarray, num_users: int) -> Histories:
    """Put histories in the order of the model's users; those without one here have done nothing."""
    data_user = np.zeros(num_users + 1, dtype=np.int64)
    data_user[user_of] = np.arange(len(user_of))
    data_user[0] = 0
    lengths = histories.lengths[data_user]
    _, positions = histories.find_rows(data_user[1:])
    offsets = np.concatenate([[0, 0], np.cumsum(lengths[1:])])
    return Histories(offsets, histories.items[positions], histories.timestamps[positions])


@dataclass(frozen=True)
class Quality:
    """A system's answers to the ranked targets."""

    ndcg: Float64[np.ndarray, "T"]
    """NDCG@10 of each user."""
    coverage: float
    """Share of the catalogue that is in anybody's top 10."""
    popularity: float
    """Mean popularity percentile of what is in the top 10: 1 is the most popular item."""


@dataclass(frozen=True)
class Cost:
    """What a model asks for when it serves."""

    latency_ms: float
    size_mb: float


def measure_quality(
    data: Sequences, rows: np.ndarray, scorer: Scorer, excludes_seen: bool = True, misses_seen: bool = False
) -> Quality:
    """Ranks the whole catalogue for some test targets.

    Args:
        data: The test data.
        rows: Positions of the targets in `data.test`.
        scorer: Scores from the histories of the test horizon.
        excludes_seen: Items seen before compete with no target and are in no list.
        misses_seen: A target that is excluded itself counts as missed, as when the model serves; else it is ranked.

    Raises:
        ScoreError: A score is NaN.
    """
    targets, before = np.asarray(data.test)[rows], data.histories("test")
    coverage, popularity = Coverage(data), PopularityBias(data)
    batch_size = max(1, min(BATCH_SIZE, MAX_SCORES // (data.num_items + 1)))
    seen = before if excludes_seen else None
    ranks = rank_users(scorer, targets, seen, batch_size, lists=(coverage, popularity))
    ndcg = per_user_metrics(ranks)[METRIC]
    if excludes_seen and misses_seen:
        ndcg[find_repeats(targets, before, data.num_items)] = 0
    return Quality(ndcg, coverage.value(), popularity.value())


def measure_popularity_baseline(
    data: Sequences, rows: np.ndarray, excludes_seen: bool = True, misses_seen: bool = False
) -> Quality:
    """Ranking by popularity, on the same targets and by the same rule."""
    histories = data.histories("validation")
    popularity = Popularity(TrainingPrefixes(histories, data.num_items), histories)
    return measure_quality(data, rows, popularity, excludes_seen, misses_seen)


def find_slices(data: Sequences, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Positions in `rows` of the users with the shortest and longest quarter of histories and of unpopular targets.

    A target is unpopular when it is in the lowest quarter by training interactions, or has none.
    """
    targets = np.asarray(data.test)[rows]
    lengths = data.histories("test").lengths[targets[:, USER]]
    quarters = {group.name: group.positions for group in quantile_groups(lengths)}
    popularity = data.training_counts()[targets[:, ITEM]]
    tail = [group.positions for group in popularity_groups(popularity) if group.name in (COLD, "q1")]
    nobody = np.empty(0, dtype=np.int64)
    return {
        "cold_users": quarters.get("q1", nobody),
        "heavy_users": quarters.get("q4", nobody),
        "long_tail_items": np.sort(np.concatenate([nobody, *tail])),
    }


def measure_costs(models: Sequence[LoadedModel], num_requests: int) -> list[Cost]:
    """Median over users of the processor time of a known user's top 10, and the size on disk.

    Processor time of one thread, not wall time: a machine that is busy with other work would refuse a good model. Of
    each request the fastest of a few repetitions counts, and the models are asked in turn.
    """
    recommenders = [model.recommender for model in models]
    with _one_thread():
        for recommender in recommenders:
            _ask(recommender, 0)
        seconds = [
            np.min([[_ask(each, number) for each in recommenders] for _ in range(REPETITIONS)], axis=0)
            for number in range(num_requests)
        ]
    latencies_ms = 1000 * np.median(seconds, axis=0)
    return [Cost(float(latency), model.size_mb) for latency, model in zip(latencies_ms, models, strict=True)]


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _ask(recommender: Recommender, number: int) -> float:
    users = list(recommender.bundle.user_index)
    user = users[number * STRIDE % len(users)]
    started = time.thread_time()
    recommender.recommend([user], k=TOP)
    return time.thread_time() - started
