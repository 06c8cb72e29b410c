"""Baselines that every report carries: popularity, EASE (binary and recency-weighted), and what a user had before.

B users in a batch, N items (N1 = N + 1 columns, column 0 is padding).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import ClassVar, get_args

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_array
from torch import Tensor

from ur4rec.data.sequences import Histories, Sequences
from ur4rec.evaluation.config import BaselineName, EvaluationConfig
from ur4rec.ranking.ranks import ScoreError, Scorer

EASE_L2 = 300.0
RECENT_ITEMS = 30
RECENCY_DECAY = 0.9
AGAIN = "again"
FORGETTING = 0.5
"""ACT-R's decay of memory, the default over a large range of applications (Anderson et al. 2004)."""
_COLUMNS_AT_ONCE = 1024


class TrainingPrefixes:
    """What baselines are fitted on; what several of them need is fitted once, when the first asks for it."""

    def __init__(self, histories: Histories, num_items: int) -> None:
        self.histories, self.num_items = histories, num_items

    @cached_property
    def popularity(self) -> Float[Tensor, "N1"]:
        """Number of interactions with each item."""
        counts = np.bincount(self.histories.items, minlength=self.num_items + 1)
        return torch.from_numpy(counts.astype(np.float32))

    @cached_property
    def ease_weights(self) -> Float[Tensor, "N1 N1"]:
        """Item-to-item weights of EASE."""
        return fit_ease(self.histories, self.num_items)


class Baseline(ABC):
    """A system that is fitted on the training prefixes alone.

    Args:
        training: What it is fitted on.
        histories: What users are scored from.
    """

    description: ClassVar[str]
    """What it is, for the reader of a report."""
    is_dense: ClassVar[bool] = False
    """Whether it needs a dense items × items matrix, so that `ease_max_items` leaves it out of large catalogues."""

    def __init__(self, training: TrainingPrefixes, histories: Histories) -> None:
        self.training, self.histories = training, histories

    @abstractmethod
    def __call__(self, users: np.ndarray) -> Float[Tensor, "B N1"]:
        """Score the catalogue for each user."""


class Popularity(Baseline):
    """Scores every item by its number of interactions in the training prefixes, whoever asks."""

    description = "Items by their number of interactions in the training prefixes, the same for everyone"

    def __call__(self, users: np.ndarray) -> Float[Tensor, "B N1"]:
        """Return the same scores for every user."""
        return self.training.popularity.expand(len(users), -1)


class EASE(Baseline):
    """Scores `x·W` for the binary vector x of everything in the user's history."""

    description = f"EASE (L2 = {EASE_L2:g} on the binary user-item matrix); the query is the whole history, unweighted"
    is_dense = True

    def __call__(self, users: np.ndarray) -> Float[Tensor, "B N1"]:
        """Score the catalogue for each user."""
        rows, positions = self.histories.find_rows(users)
        query = _sparse_matrix(rows, self.histories.items[positions], (len(users), len(self.training.ease_weights)))
        query.data[:] = 1.0
        return torch.from_numpy(query @ self.training.ease_weights.numpy())


class RecencyEASE(Baseline):
    """Scores `x·W`; x holds the user's last `RECENT_ITEMS`, weighted by `RECENCY_DECAY ** age`, the last of age 0."""

    description = (
        f"EASE (L2 = {EASE_L2:g} on the binary user-item matrix); the query is the last {RECENT_ITEMS} items, "
        f"weighted {RECENCY_DECAY:g} to the power of their age"
    )
    is_dense = True
    decay = RECENCY_DECAY

    def __call__(self, users: np.ndarray) -> Float[Tensor, "B N1"]:
        """Score the catalogue for each user."""
        rows, positions = self.histories.find_rows(users, RECENT_ITEMS)
        ages = self.histories.offsets[users + 1][rows] - 1 - positions
        weights = (self.decay**ages).astype(np.float32)  # an item consumed twice counts twice
        shape = len(users), len(self.training.ease_weights)
        query = _sparse_matrix(rows, self.histories.items[positions], shape, weights)
        return torch.from_numpy(query @ self.training.ease_weights.numpy())


class Again(Baseline):
    """Scores what a user has had by how often and how lately, `Σ age ** −FORGETTING`, and then the rest by popularity.

    It is the base-level activation of Anderson & Schooler 1991, "Reflections of the environment in memory", by which
    Reiter-Haas et al. 2021, "Predicting music relistening behavior using the ACT-R framework", predict repeats; an age
    is a number of interactions, the last one of age 1.
    """

    description = (
        f"What the user has had, by the sum of age to the power of −{FORGETTING:g} over all times the user had it, the "
        "last interaction of age 1; then the rest by popularity"
    )

    def __call__(self, users: np.ndarray) -> Float[Tensor, "B N1"]:
        """Score the catalogue for each user."""
        rows, positions = self.histories.find_rows(users)
        ages = self.histories.offsets[users + 1][rows] - positions
        popularity = self.training.popularity
        shape, strengths = (len(users), len(popularity)), (ages**-FORGETTING).astype(np.float32)
        had = torch.from_numpy(_sparse_matrix(rows, self.histories.items[positions], shape, strengths).toarray())
        return had.where(had > 0, popularity - popularity.max() - 1)


BASELINES: dict[str, type[Baseline]] = {
    AGAIN: Again,
    "recency_ease": RecencyEASE,
    "ease": EASE,
    "popularity": Popularity,
}
"""All of them, in the order of a report; what is added here is fitted, reported and described everywhere."""
assert BASELINES.keys() == set(get_args(BaselineName)), "config.BaselineName and BASELINES name different baselines"


class Baselines:
    """The configured baselines, fitted once on the training prefixes; `again` is among them where repeats count.

    Attributes:
        notes: Says which baselines were left out, and why.
    """

    def __init__(self, data: Sequences, config: EvaluationConfig, excludes_seen: bool = True) -> None:
        self._training = TrainingPrefixes(data.histories("validation"), data.num_items)
        limit, named = config.ease_max_items, {*config.baselines, *([] if excludes_seen else [AGAIN])}
        chosen = {name: baseline for name, baseline in BASELINES.items() if name in named}
        left_out = [name for name, baseline in chosen.items() if baseline.is_dense and data.num_items > limit]
        self._chosen = {name: baseline for name, baseline in chosen.items() if name not in left_out}
        self.notes = [
            f"{name} was left out: {data.num_items} items are more than ease_max_items ({limit})" for name in left_out
        ]

    def __call__(self, histories: Histories) -> dict[str, Scorer]:
        """Return a scorer of each baseline."""
        return {name: baseline(self._training, histories) for name, baseline in self._chosen.items()}


def fit_ease(train: Histories, num_items: int, l2: float = EASE_L2) -> Float[Tensor, "N1 N1"]:
    """Fit the item-to-item weights of EASE (Steck 2019, "Embarrassingly shallow autoencoders for sparse data", eq. 8).

    With X the binary user-item matrix and P = (XᵀX + l2·I)⁻¹, the weights are -P_ij / P_jj with a zero
    diagonal. Memory is about two dense matrices over the items.

    Raises:
        ScoreError: `l2` is not positive.
    """
    if l2 <= 0:
        raise ScoreError(f"EASE with an L2 of {l2}: expected a positive number, the matrix is singular without")
    interactions = _sparse_matrix(train.users, train.items, (len(train.lengths), num_items + 1))
    interactions.data[:] = 1.0
    matrix = _co_occurrences(interactions)
    matrix.diagonal().add_(l2)
    matrix = torch.linalg.cholesky(matrix)
    matrix = torch.cholesky_inverse(matrix).contiguous()  # rows are read one by one when users are scored
    matrix /= -matrix.diagonal().clone()
    return matrix.fill_diagonal_(0.0)


def _sparse_matrix(
    rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int], values: np.ndarray | None = None
) -> csr_array:
    """Sum repeated entries; every value is one by default."""
    entries = np.ones(len(rows), dtype=np.float32) if values is None else values
    matrix = csr_array((entries, (rows, columns)), shape=shape)
    matrix.sum_duplicates()
    return matrix


def _co_occurrences(matrix: csr_array) -> Float[Tensor, "N1 N1"]:
    num_columns = matrix.shape[1]
    gram = torch.empty(num_columns, num_columns)
    by_item, by_user = matrix.T.tocsr(), matrix.tocsc()
    for start in range(0, num_columns, _COLUMNS_AT_ONCE):
        block = by_item @ by_user[:, start : start + _COLUMNS_AT_ONCE]
        gram[:, start : start + _COLUMNS_AT_ONCE] = torch.from_numpy(block.toarray())
    return gram
