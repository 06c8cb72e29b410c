"""Statistics over users: which items stand beside which, and item factors from them.

Dimensions: U users, N items, R interactions, K neighbours per item, T tables, F factors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float32, Int
from scipy.sparse import csr_array
from torch import Tensor

from ur4rec.data.sequences import Histories
from ur4rec.models.config import CooccurrenceConfig
from ur4rec.models.cooccurrence import NeighborTables
from ur4rec.models.retriever_moe_memory import Window
from ur4rec.training.windows import Epoch

Indices = TypeVar("Indices", np.ndarray, Tensor)

PAIRS_AT_ONCE = 1 << 22
"""Entries of a count matrix that are sorted together."""
NUM_FOLDS = 5
"""Folds of users; at a training position the statistics come from the other folds."""
CALIBRATION_STEPS = 6
CALIBRATION_BATCH = 256
MAX_WINDOWS = 2048
"""Newest windows of this many users are enough for one number."""


def user_folds(users: Indices) -> Indices:
    """Fold of each user."""
    return users % NUM_FOLDS


def count_pairs(
    histories: Histories, num_items: int, config: CooccurrenceConfig, without_fold: int | None = None
) -> csr_array:
    """Symmetric counts of item pairs in the same history, weighted by how near they stand, `[N + 1, N + 1]`.

    An item is its own neighbour, where it comes again, only if what a user has had may be recommended again.

    >>> histories = Histories(np.array([0, 0, 3]), np.array([1, 2, 3]), np.arange(3))
    >>> count_pairs(histories, 3, CooccurrenceConfig(cooccurrence_gap_decay=0.5)).toarray()[1:, 1:].tolist()
    [[0.0, 1.0, 0.5], [1.0, 0.0, 1.0], [0.5, 1.0, 0.0]]
    """
    users, items = histories.users, histories.items
    if without_fold is not None:
        kept = user_folds(users) != without_fold
        users, items = users[kept], items[kept]
    shape = (num_items + 1, num_items + 1)
    total = csr_array(shape, dtype=np.float32)
    for gap in range(1, min(config.cooccurrence_window, len(items) - 1) + 1):
        together = users[:-gap] == users[gap:]
        weight = np.full(int(together.sum()), config.cooccurrence_gap_decay ** (gap - 1), dtype=np.float32)
        total = total + csr_array((weight, (items[:-gap][together], items[gap:][together])), shape=shape)
    both: Any = total + total.T  # the stubs lose the second dimension
    if config.excludes_seen:
        both.setdiag(0)
        both.eliminate_zeros()
    both.sort_indices()
    return csr_array(both)


def neighbor_table(
    counts: csr_array, config: CooccurrenceConfig
) -> tuple[Int[np.ndarray, "N1 K"], Float32[np.ndarray, "N1 K"]]:
    """Strongest neighbours of each item by smoothed cosine `c_ij / sqrt((c_i + s)(c_j + s))`.

    Returns:
        Item indices and strengths, strongest first; empty places hold 0.
    """
    totals = np.asarray(counts.sum(axis=1)).ravel() + config.cooccurrence_smoothing
    scale = 1 / np.sqrt(np.maximum(totals, np.finfo(np.float32).tiny))
    width = min(config.cooccurrence_neighbors, int(np.diff(counts.indptr).max(initial=0)))
    neighbors = np.zeros((counts.shape[0], width), dtype=np.int32)
    values = np.zeros((counts.shape[0], width), dtype=np.float32)
    for first, last in _split_rows(counts.indptr):
        inside = slice(counts.indptr[first], counts.indptr[last])
        rows = np.repeat(np.arange(first, last), np.diff(counts.indptr[first : last + 1]))
        items = counts.indices[inside]
        strengths = (counts.data[inside] * scale[rows] * scale[items]).astype(np.float32)
        # One sort: the bits of a positive float32 order like the number; equal strengths keep the order of their items.
        key = (rows.astype(np.uint64) << np.uint64(32)) | (np.uint64(0xFFFFFFFF) - strengths.view(np.uint32))
        order = np.argsort(key, kind="stable")
        place = np.arange(inside.start, inside.stop) - counts.indptr[rows]
        kept = place < width
        order = order[kept]
        neighbors[rows[kept], place[kept]] = items[order]
        values[rows[kept], place[kept]] = strengths[order]
    return neighbors, values


def _split_rows(indptr: np.ndarray) -> Iterator[tuple[int, int]]:
    """Runs of rows with about `PAIRS_AT_ONCE` entries each, so that what is sorted stays small."""
    marks = np.arange(PAIRS_AT_ONCE, int(indptr[-1]), PAIRS_AT_ONCE)
    edges = np.unique(np.concatenate([[0], np.searchsorted(indptr, marks), [len(indptr) - 1]]))
    return pairwise(edges.tolist())


def fit_table(counts: csr_array, config: CooccurrenceConfig) -> NeighborTables:
    """The table over all users, for evaluation."""
    neighbors, strengths = neighbor_table(counts, config)
    return NeighborTables(torch.from_numpy(neighbors)[None], torch.from_numpy(strengths)[None])


def fit_fold_tables(
    histories: Histories, num_items: int, config: CooccurrenceConfig, device: torch.device
) -> NeighborTables:
    """One table for each fold of users, made without that fold, for training."""
    pairs = [neighbor_table(count_pairs(histories, num_items, config, fold), config) for fold in range(NUM_FOLDS)]
    width = max(neighbors.shape[1] for neighbors, _ in pairs)
    pads = [((0, 0), (0, width - neighbors.shape[1])) for neighbors, _ in pairs]
    neighbors = np.stack([np.pad(pair[0], pad) for pair, pad in zip(pairs, pads, strict=True)])
    strengths = np.stack([np.pad(pair[1], pad) for pair, pad in zip(pairs, pads, strict=True)])
    return NeighborTables(torch.from_numpy(neighbors).to(device), torch.from_numpy(strengths).to(device))


@torch.no_grad()
def fit_log_temperature(scan: Callable[[Window], Iterator[Tensor]], epoch: Epoch) -> Tensor:
    """Returns the logarithm of the temperature that fits a scorer's logits to the windows of an epoch.

    It is Newton's method on the mean cross-entropy, which is convex in the inverse temperature.

    Args:
        scan: Logits `[B, N + 1]` of the windows after each position.
        epoch: Of which the first windows are read.
    """
    inverse = torch.ones((), dtype=torch.float64, device=epoch.users.device)
    for _ in range(CALIBRATION_STEPS):
        slope, curvature = torch.zeros(2, dtype=torch.float64, device=inverse.device)
        for rows in torch.arange(min(len(epoch.users), MAX_WINDOWS), device=inverse.device).split(CALIBRATION_BATCH):
            window, targets = epoch.window(rows)
            for scores, target in zip(scan(window), targets.T, strict=True):
                logits, valid = scores[:, 1:][target > 0], target[target > 0] - 1
                share = (logits * inverse.float()).softmax(dim=1)
                mean = (share * logits).sum(dim=1)
                slope += (mean - logits.gather(1, valid[:, None])[:, 0]).double().sum()
                curvature += ((share * logits.square()).sum(dim=1) - mean.square()).double().sum()
        inverse = (inverse - slope / curvature.clamp_min(1e-9)).clamp(0.05, 20.0)
    return -inverse.log()


def item_factors(counts: csr_array, num_factors: int, seed: int) -> Float32[np.ndarray, "N1 F"]:
    """Left singular vectors, scaled to unit variance, of the positive pointwise mutual information of the counts.

    Levy & Goldberg 2014, "Neural Word Embedding as Implicit Matrix Factorization"; the largest singular values come
    first, columns beyond the rank are zero. Items without a neighbour have zero rows.
    """
    from sklearn.utils.extmath import randomized_svd  # 70 MB, which later stages do without

    rank = min(num_factors, counts.shape[0] - 1)
    vectors, values, _ = randomized_svd(_positive_information(counts), rank, n_iter=6, random_state=seed)
    factors = np.zeros((counts.shape[0], num_factors), dtype=np.float32)
    np.multiply(vectors, values > 1e-6 * values.max(initial=0.0), out=factors[:, :rank])
    factors *= np.sqrt(counts.shape[0])
    factors[np.diff(counts.indptr) == 0] = 0
    return factors


def _positive_information(counts: csr_array) -> csr_array:
    """Positive pointwise mutual information, computed in place: the counts of a large catalogue have gigabytes."""
    sums = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), np.finfo(np.float32).tiny)
    expected = np.repeat(sums, np.diff(counts.indptr))
    expected *= sums[counts.indices]
    ratio: np.ndarray = counts.data * counts.sum()
    ratio /= expected
    np.log(np.maximum(ratio, 1.0, out=ratio), out=ratio)
    return csr_array((ratio, counts.indices, counts.indptr), shape=counts.shape)
