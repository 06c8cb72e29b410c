"""A generated catalogue: long-tailed popularity, and a next item that depends on the last.

Dimensions: U users, L interactions a user, N items.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ur4rec.data.sequences import Histories

CHAIN_SHARE = 0.6
"""Of interactions that follow from the one before."""
GROUP = 8
"""Items that follow each other; the group goes round, so its items are equally popular."""
EXPONENT = 0.9
"""Of the popularity by rank (Zipf)."""
SECONDS_BETWEEN = 3600


def generate_sequences(num_users: int, num_items: int, length: int, seed: int) -> Int64[np.ndarray, "U L"]:
    """Items of every user, oldest first: each is the successor of the one before or drawn by popularity.

    Successors go round a group of `GROUP` items of neighbouring popularity, so that the chain keeps the long tail.
    """
    generator = np.random.default_rng(seed)
    groups = -(-num_items // GROUP)
    label = generator.permutation(num_items) + 1
    cumulative = np.cumsum(_popularity(groups))
    items = np.empty((num_users, length), dtype=np.int64)
    rank = np.zeros(num_users, dtype=np.int64)
    for position in range(length):
        drawn = np.searchsorted(cumulative, generator.random(num_users)) * GROUP
        drawn = np.minimum(drawn + generator.integers(0, GROUP, num_users), num_items - 1)
        follows = (generator.random(num_users) < CHAIN_SHARE) & (position > 0)
        rank = np.where(follows, successor(rank, num_items), drawn)
        items[:, position] = label[rank]
    return items


def successor(rank: Int64[np.ndarray, "U"], num_items: int) -> Int64[np.ndarray, "U"]:
    """The next rank of the same group.

    >>> successor(np.array([0, 6, 7, 8, 9]), num_items=10).tolist()
    [1, 7, 0, 9, 8]
    """
    first = rank // GROUP * GROUP
    following: np.ndarray = first + (rank - first + 1) % np.minimum(GROUP, num_items - first)
    return following


def _popularity(groups: int) -> Float64[np.ndarray, "G"]:
    weights = np.arange(1, groups + 1, dtype=np.float64) ** -EXPONENT
    shares: np.ndarray = weights / weights.sum()
    return shares


def split_histories(items: Int64[np.ndarray, "U L"]) -> tuple[Histories, Int64[np.ndarray, "U 3"]]:
    """All but each user's last item as histories, the last as target rows `user, item, timestamp_s`."""
    num_users, length = items.shape
    times = np.arange(length, dtype=np.int64) * SECONDS_BETWEEN
    offsets = np.concatenate([[0], np.arange(num_users + 1, dtype=np.int64) * (length - 1)])
    histories = Histories(offsets, items[:, :-1].ravel(), np.tile(times[:-1], num_users))
    users = np.arange(1, num_users + 1)
    return histories, np.stack([users, items[:, -1], np.full(num_users, times[-1])], axis=1)


def generate_texts(num_items: int, width: int, seed: int) -> Float[Tensor, "N1 T"]:
    """Stands for text embeddings of all items, row 0 for padding."""
    return torch.randn(num_items + 1, width, generator=torch.Generator().manual_seed(seed))
