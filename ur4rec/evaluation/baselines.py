"""Baselines that every report carries: popularity and EASE, binary and recency-weighted.

B users in a batch, N items (N1 = N + 1 columns, column 0 is padding).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_array
from torch import Tensor

from ur4rec.data.sequences import Histories
from ur4rec.ranking.ranks import ScoreError

EASE_L2 = 300.0
RECENT_ITEMS = 30
RECENCY_DECAY = 0.9
_COLUMNS_AT_ONCE = 1024


class Popularity:
    """Scores every item by its number of interactions in the training prefixes, whoever asks."""

    def __init__(self, train: Histories, num_items: int) -> None:
        counts = np.bincount(train.items, minlength=num_items + 1)
        self._scores = torch.from_numpy(counts.astype(np.float32))

    def __call__(self, users: np.ndarray) -> Float[Tensor, "B N1"]:
        """The same scores for every user."""
        return self._scores.expand(len(users), -1)


def fit_ease(train: Histories, num_items: int, l2: float = EASE_L2) -> Float[Tensor, "N1 N1"]:
    """Item-to-item weights of EASE (Steck 2019, "Embarrassingly shallow autoencoders for sparse data", eq. 8).

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


class EASE:
    """Scores `x·W` for the binary vector x of everything in the user's history."""

    def __init__(self, weights: Float[Tensor, "N1 N1"], histories: Histories) -> None:
        self._weights = weights
        self._histories = histories

    def __call__(self, users: np.ndarray) -> Float[Tensor, "B N1"]:
        """Scores of the catalogue for each user."""
        rows, positions = self._histories.find_rows(users)
        query = _sparse_matrix(rows, self._histories.items[positions], (len(users), len(self._weights)))
        query.data[:] = 1.0
        return torch.from_numpy(query @ self._weights.numpy())


class RecencyEASE:
    """Scores `x·W`; x holds the user's last `RECENT_ITEMS`, weighted by `RECENCY_DECAY ** age`, the last of age 0."""

    def __init__(self, weights: Float[Tensor, "N1 N1"], histories: Histories) -> None:
        self._weights = weights
        self._histories = histories

    def __call__(self, users: np.ndarray) -> Float[Tensor, "B N1"]:
        """Scores of the catalogue for each user."""
        rows, positions = self._histories.find_rows(users, RECENT_ITEMS)
        ages = self._histories.offsets[users + 1][rows] - 1 - positions
        weights = (RECENCY_DECAY**ages).astype(np.float32)  # an item consumed twice counts twice
        shape = len(users), len(self._weights)
        query = _sparse_matrix(rows, self._histories.items[positions], shape, weights)
        return torch.from_numpy(query @ self._weights.numpy())


def _sparse_matrix(
    rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int], values: np.ndarray | None = None
) -> csr_array:
    """Sums repeated entries; every value is one by default."""
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
