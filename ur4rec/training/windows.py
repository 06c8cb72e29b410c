"""Training windows: one per user and epoch, the newest or a random one, or as many as hold everything; ties shuffled.

Dimensions: R interactions, U users with a window, W windows, B windows in a batch, L positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ur4rec.data.sequences import Histories
from ur4rec.models.retriever_moe_memory import Window
from ur4rec.models.user_memory import Runs
from ur4rec.training.config import WindowsPerUser

Tiles = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Which of the users each window is of, its first interaction, and how many inputs it has."""


@dataclass(frozen=True)
class Epoch:
    """The windows of one epoch over one order of the interactions."""

    items: Int[Tensor, "R"]
    timestamps: Int[Tensor, "R"]
    offsets: Int[Tensor, "W"]
    """First row of the window's user in `items`."""
    users: Int[Tensor, "W"]
    starts: Int[Tensor, "W"]
    """First interaction of the window, counted in the user's history."""
    lengths: Int[Tensor, "W"]

    def before(self) -> Runs:
        """Returns what every window's user did before it."""
        return Runs(self.items, self.timestamps, self.offsets, self.starts)

    def select(self, rows: Int[Tensor, "V"]) -> Epoch:
        """Returns some of the windows."""
        of_windows = self.offsets[rows], self.users[rows], self.starts[rows], self.lengths[rows]
        return Epoch(self.items, self.timestamps, *of_windows)

    def window(self, rows: Int[Tensor, "B"], longest: int | None = None) -> tuple[Window, Int[Tensor, "B L"]]:
        """Input and target of some windows; target 0 is padding, up to the longest of them or to a given length."""
        begin = self.offsets[rows] + self.starts[rows]
        items, times = Runs(self.items, self.timestamps, begin, self.lengths[rows]).pad(1, longest)
        mask = torch.arange(items.shape[1] - 1, device=items.device) < self.lengths[rows][:, None]
        window = Window(self.users[rows], items[:, :-1] * mask, times[:, :-1], self.starts[rows])
        return window, items[:, 1:] * mask


def sample_epoch(
    histories: Histories,
    max_len: int,
    generator: np.random.Generator,
    random_share: float,
    shuffle_ties: bool,
    device: torch.device,
    windows_per_user: WindowsPerUser = "one",
) -> Epoch:
    """Draws the windows of each user with at least two interactions.

    Args:
        histories: Training prefixes.
        max_len: Inputs in a window at most.
        generator: Source of all randomness.
        random_share: Share of users whose windows start anywhere instead of ending with the prefix.
        shuffle_ties: Whether interactions of a user with equal timestamps change places.
        device: Where the tensors go.
        windows_per_user: `all`: windows end to end, so that each interaction but the first is a target once.
    """
    order = shuffled_ties(histories, generator) if shuffle_ties else np.arange(len(histories.items))
    users = np.flatnonzero(histories.lengths >= 2)
    inputs = histories.lengths[users] - 1
    draw = _draw_one if windows_per_user == "one" else _draw_all
    rows, starts, lengths = draw(inputs, max_len, generator, random_share)
    users = users[rows]
    arrays = histories.items[order], histories.timestamps, histories.offsets[users], users, starts, lengths
    return Epoch(*(torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays))


def count_windows(histories: Histories, max_len: int, windows_per_user: WindowsPerUser) -> int:
    """Number of the windows of an epoch; every epoch has as many.

    >>> histories = Histories(np.array([0, 0, 2, 8]), np.arange(1, 9), np.arange(8))
    >>> count_windows(histories, 2, "one"), count_windows(histories, 2, "all")
    (2, 4)
    """
    inputs = np.maximum(histories.lengths - 1, 0)
    return int(np.count_nonzero(inputs) if windows_per_user == "one" else _count_tiles(inputs, max_len).sum())


def _draw_one(inputs: Int[np.ndarray, "U"], max_len: int, generator: np.random.Generator, random_share: float) -> Tiles:
    latest = np.maximum(inputs - max_len, 0)
    anywhere = generator.integers(0, latest + 1)
    starts = np.where(generator.random(len(inputs)) < random_share, anywhere, latest)
    return np.arange(len(inputs)), starts, np.minimum(inputs - starts, max_len)


def _draw_all(inputs: Int[np.ndarray, "U"], max_len: int, generator: np.random.Generator, random_share: float) -> Tiles:
    """Full windows end to end; what they hold more than there is to hold lies before the first or after the last."""
    counts = _count_tiles(inputs, max_len)
    spare = counts * max_len - inputs
    anywhere = generator.integers(0, spare + 1)
    before = np.where(generator.random(len(inputs)) < random_share, anywhere, spare)
    rows = np.repeat(np.arange(len(inputs)), counts)
    begins = (np.arange(len(rows)) - (counts.cumsum() - counts)[rows]) * max_len - before[rows]
    starts = np.maximum(begins, 0)
    return rows, starts, np.minimum(begins + max_len, inputs[rows]) - starts


def _count_tiles(inputs: Int[np.ndarray, "U"], max_len: int) -> Int[np.ndarray, "U"]:
    return -(-inputs // max_len)


def shuffled_ties(histories: Histories, generator: np.random.Generator) -> np.ndarray:
    """Order of the rows in which those of a user with equal timestamps are permuted.

    >>> histories = Histories(np.array([0, 0, 2, 3]), np.array([5, 7, 6]), np.array([10, 20, 15]))
    >>> shuffled_ties(histories, np.random.default_rng(0)).tolist()
    [0, 1, 2]
    """
    users, times = histories.users, histories.timestamps
    draws, order = generator.random(len(users)), np.arange(len(users))
    as_next = (users[1:] == users[:-1]) & (times[1:] == times[:-1])
    tied = np.flatnonzero(np.append(as_next, False) | np.append(False, as_next))  # neighbours: histories are sorted
    order[tied] = tied[np.lexsort((draws[tied], times[tied], users[tied]))]
    return order


def batches(epoch: Epoch, batch_size: int, generator: np.random.Generator) -> Iterator[Int[Tensor, "B"]]:
    """Rows of windows of similar length, the batches in random order."""
    lengths = epoch.lengths.cpu().numpy()
    rows = np.lexsort((generator.random(len(lengths)), lengths))
    starts = np.arange(0, len(rows), batch_size)
    for start in generator.permutation(starts):
        yield torch.from_numpy(rows[start : start + batch_size]).to(epoch.users.device)
