"""Metrics of the lists that a system would show: the best items of every user, of those that are not excluded.

Items that tie for the last places of a list share them: each is there with the same probability.

B users in a batch, E entries of their lists, T users in all, N items (N1 = N + 1 columns, column 0 is padding).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from ur4rec.columns import ITEM, USER
from ur4rec.data.sequences import Sequences

LIST_LENGTH = 10
ENTRIES_AT_ONCE = 1 << 21
"""Bounds the memory of lists."""


@dataclass(frozen=True)
class Lists:
    """The lists of a batch of users: an entry for each item that may be in one, by user, then by item."""

    users: Int64[np.ndarray, "E"]
    """Position in the batch."""
    items: Int64[np.ndarray, "E"]
    chances: Float64[np.ndarray, "E"]
    """Probability that the item is in the list: 1 where it does not tie for the last place."""
    num_users: int


def find_lists(scores: Float[Tensor, "B N1"], excluded: Bool[Tensor, "B N1"], length: int = LIST_LENGTH) -> Lists:
    """Find the best items of every row; what is excluded, or of minus infinity, is in no list.

    Only rows that tie at the end of the list are looked at as a whole.
    """
    scores = scores.masked_fill(excluded, float("-inf"))
    scores[:, 0] = float("-inf")
    length = min(length, scores.shape[1] - 1)
    values, items = torch.topk(scores, length + 1, dim=1)
    last = values[:, length - 1 : length]
    tied = ((last == values[:, length:]) & ~last.isneginf())[:, 0]
    items = items[:, :length].sort(dim=1).values
    clear = ~scores.gather(1, items).isneginf() & ~tied[:, None]
    rows = clear.nonzero()[:, 0]
    parts = [(rows, items[clear], torch.ones(len(rows), dtype=torch.float64, device=rows.device))]
    if tied.any():
        parts.append(_share_last_places(scores[tied], last[tied], tied.nonzero()[:, 0], length))
    users, entries, chances = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
    order = np.argsort(users, kind="stable")  # by user, then item, whatever the batch: sums have the same bits
    return Lists(users[order], entries[order], chances[order], len(scores))


def _share_last_places(
    scores: Float[Tensor, "B N1"], last: Float[Tensor, "B 1"], users: Tensor, length: int
) -> tuple[Tensor, Tensor, Tensor]:
    higher, equal = scores > last, scores == last
    share = (length - higher.sum(1, dtype=torch.float64)) / equal.sum(1)
    rows, items = (higher | equal).nonzero().unbind(1)
    return users[rows], items, torch.where(higher[rows, items], 1.0, share[rows])


def show_lists(metrics: Sequence[ListMetric], scores: Float[Tensor, "B N1"], excluded: Bool[Tensor, "B N1"]) -> None:
    """Show every metric the lists of a batch, some users at a time: where all scores tie, lists are full catalogues."""
    step = max(1, ENTRIES_AT_ONCE // scores.shape[1])
    for start in range(0, len(scores), step):
        lists = find_lists(scores[start : start + step], excluded[start : start + step])
        for metric in metrics:
            metric.add(lists)


class ListMetric(ABC):
    """A metric of all users' lists together, which are shown to it batch by batch.

    Args:
        data: The catalogue, and what was interacted with in training.
    """

    name: ClassVar[str]
    """What results call it."""
    meaning: ClassVar[str]
    """What a value says, for the reader of a report."""

    def __init__(self, data: Sequences) -> None:
        self.data = data

    @abstractmethod
    def add(self, lists: Lists) -> None:
        """Take a batch in."""

    @abstractmethod
    def value(self) -> float:
        """Return the metric of what was taken in; NaN where no list holds an item."""

    def user_sums(self) -> Float64[np.ndarray, "T 2"] | None:
        """Return two columns whose means over users have the value as their quotient, for its interval.

        None: users cannot be drawn again. With repeated users fewer are distinct, so coverage would be too low.
        """
        return None


class Coverage(ListMetric):
    """The share of the catalogue that is in anybody's list, expected over the orders of tied items.

    Ge, Delgado-Battenfeld & Jannach 2010, "Beyond accuracy: evaluating recommender systems by coverage and
    serendipity": catalogue coverage.
    """

    name = f"coverage@{LIST_LENGTH}"
    meaning = f"Share of the catalogue that is among anybody's first {LIST_LENGTH}."

    def __init__(self, data: Sequences) -> None:
        super().__init__(data)
        self.missed = np.ones(data.num_items + 1)
        """Probability that no list holds an item, every user's ties resolved apart from the others'."""

    def add(self, lists: Lists) -> None:
        """Take a batch in."""
        np.multiply.at(self.missed, lists.items, 1.0 - lists.chances)

    def value(self) -> float:
        """Return the expected share."""
        return float(1 - self.missed[1:].mean())


class ItemMean(ListMetric):
    """The mean of a value of items over all entries of all lists."""

    def __init__(self, data: Sequences) -> None:
        super().__init__(data)
        self.values = self.item_values()
        self.counts = np.zeros(data.num_items + 1)
        """Expected number of lists that hold an item."""
        self._user_sums: list[np.ndarray] = []

    @abstractmethod
    def item_values(self) -> Float64[np.ndarray, "N1"]:
        """Return the value of each item; that of column 0 is ignored."""

    def add(self, lists: Lists) -> None:
        """Take a batch in."""
        np.add.at(self.counts, lists.items, lists.chances)
        columns = (lists.chances * self.values[lists.items], lists.chances)
        sums = [np.bincount(lists.users, column, lists.num_users) for column in columns]
        self._user_sums.append(np.stack(sums, axis=1))

    def value(self) -> float:
        """Return the mean."""
        return float(np.average(self.values[1:], weights=self.counts[1:])) if self.counts.any() else float("nan")

    def user_sums(self) -> Float64[np.ndarray, "T 2"]:
        """Return the sum of the values, and the length, of each user's list."""
        return np.concatenate(self._user_sums)


class Novelty(ItemMean):
    """The mean surprise of an item: the bits that it takes to say that a random user has interacted with it.

    Zhou et al. 2010, "Solving the apparent diversity-accuracy dilemma of recommender systems": self-information
    `log2(U / k)` of an item that k of U users have; an item without an interaction counts as one user's.
    """

    name = f"novelty@{LIST_LENGTH}"
    meaning = (
        f"Mean of log₂(users / users of the item in training) over everybody's first {LIST_LENGTH}, in bits: "
        "0 for what everybody has had."
    )

    def item_values(self) -> Float64[np.ndarray, "N1"]:
        """Return the bits of each item."""
        width = self.data.num_items + 1
        pairs = np.unique(self.data.train[:, USER] * width + self.data.train[:, ITEM])
        return np.log2(self.data.num_users / np.bincount(pairs % width, minlength=width).clip(1))


class PopularityBias(ItemMean):
    """The mean popularity percentile of what is in the lists: 1 is the most popular item.

    It is the average recommendation popularity of Abdollahpouri, Burke & Mobasher 2019 ("Managing popularity bias in
    recommender systems with personalized re-ranking") with percentiles for counts, so that data sets can be compared.
    """

    name = f"popularity_bias@{LIST_LENGTH}"
    meaning = (
        f"Mean popularity percentile over everybody's first {LIST_LENGTH}: 1 is the most popular item, "
        "a list of random items has 0.5."
    )

    def item_values(self) -> Float64[np.ndarray, "N1"]:
        """Return the share of the catalogue that is no more popular than each item, half of its equals counted."""
        counts = self.data.training_counts()
        ordered = np.sort(counts[1:])
        below, through = (np.searchsorted(ordered, counts, side=side) for side in ("left", "right"))
        return (below + through) / (2 * self.data.num_items)


LIST_METRICS: tuple[type[ListMetric], ...] = (Coverage, Novelty, PopularityBias)
"""All of them: what is added here is measured, reported and logged."""
