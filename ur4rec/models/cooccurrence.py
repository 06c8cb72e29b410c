"""Closed-form scorer: what other users did next to the items of this history.

The raw score of item i after a history is `Σ age_decay^age · strength(item at that age, i)`, where the strengths are
the smoothed cosine of a windowed co-occurrence count, the largest few per item. Its logit is `log(1 + raw / floor)`:
zero for what was never seen beside the history, never −inf.

Dimensions: B users, L positions, N items, K neighbours per item, T tables, C columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ur4rec.models.config import CooccurrenceConfig
from ur4rec.models.tensor_files import ResizableBuffers

FLOOR = 1e-2
NEIGHBORS_AT_ONCE = 1 << 18
"""Read by `last` in one step: one request in a single step, a large batch position by position."""


@dataclass(frozen=True)
class NeighborTables:
    """Neighbours of every item, in T tables; row 0 is padding, and an empty place holds item 0 with strength 0."""

    neighbors: Int[Tensor, "T N1 K"]
    strengths: Float[Tensor, "T N1 K"]


class CooccurrenceScorer(ResizableBuffers):
    """Reads a history item by item; the table over all users is part of the state dictionary.

    Args:
        num_items: N; item 0 is padding.
        config: Size of the table and decay of the history.
    """

    resizable = ("neighbors", "strengths")
    neighbors: Tensor
    strengths: Tensor

    def __init__(self, num_items: int, config: CooccurrenceConfig) -> None:
        super().__init__()
        self.age_decay = config.cooccurrence_age_decay
        self.num_items = num_items
        shape = (1, num_items + 1, 0)
        self.register_buffer("neighbors", torch.zeros(shape, dtype=torch.int32))
        self.register_buffer("strengths", torch.zeros(shape))

    def fill(self, tables: NeighborTables) -> None:
        """Takes the table over all users in."""
        assert len(tables.neighbors) == 1
        self.neighbors = tables.neighbors.to(self.neighbors.device, torch.int32)
        self.strengths = tables.strengths.to(self.neighbors.device)

    def find_fault(self) -> str:
        """Returns what is wrong with the table; empty where nothing is."""
        if self.neighbors.shape != (1, self.num_items + 1, self.neighbors.shape[-1]):
            return f"neighbors: expected {self.num_items + 1} rows in one table, found {tuple(self.neighbors.shape)}"
        if self.strengths.shape != self.neighbors.shape:
            return f"strengths: expected the shape of neighbors, found {tuple(self.strengths.shape)}"
        if not self.neighbors.numel():
            return ""
        low, high = torch.stack(torch.aminmax(self.neighbors)).tolist()
        if low < 0 or high > self.num_items:
            return f"neighbors: expected items from 0 to {self.num_items}, found {low} to {high}"
        return "strengths: expected no number below zero" if bool(self.strengths.min() < 0) else ""

    def tables(self) -> NeighborTables:
        """The table over all users."""
        return NeighborTables(self.neighbors, self.strengths)

    def scan(
        self,
        items: Int[Tensor, "B L"],
        tables: NeighborTables | None = None,
        rows: Int[Tensor, "B"] | None = None,
        columns: Int[Tensor, "N1"] | None = None,
    ) -> Iterator[Float[Tensor, "B C"]]:
        """Raw scores after each position; the tensor is updated in place from one position to the next.

        Args:
            items: Oldest first, padded with 0 after the sequence; padding leaves a row as it is.
            tables: Other tables than the one over all users.
            rows: Table of each row; the first by default.
            columns: Column of each item, to score a few only; items without one share column 0.
        """
        tables = tables or self.tables()
        offsets = torch.zeros_like(items[:, 0]) if rows is None else rows * tables.neighbors.shape[1]
        neighbors, strengths = tables.neighbors.flatten(0, 1), tables.strengths.flatten(0, 1)
        width = self.num_items + 1 if columns is None else int(columns.max()) + 1
        raw = torch.zeros(len(items), width, device=items.device)
        for position in range(items.shape[1]):
            item = items[:, position]
            beside = neighbors[offsets + item].long()
            raw *= torch.where(item > 0, self.age_decay, 1.0)[:, None]
            raw.scatter_add_(1, beside if columns is None else columns[beside], strengths[offsets + item])
            raw[:, 0] = 0
            yield raw

    def last(self, items: Int[Tensor, "B L"]) -> Float[Tensor, "B N1"]:
        """Logits after the last item of each row."""
        is_item = (items > 0).long()
        later = is_item.flip(1).cumsum(1).flip(1) - is_item
        weights = self.age_decay**later * is_item
        raw = torch.zeros(len(items), self.num_items + 1, device=items.device)
        together = max(1, NEIGHBORS_AT_ONCE // max(1, len(items) * self.neighbors.shape[2]))
        for item, weight in zip(*(torch.split(each, together, dim=1) for each in (items, weights)), strict=True):
            strengths = self.strengths[0, item] * weight[:, :, None]
            raw.scatter_add_(1, self.neighbors[0, item].long().flatten(1), strengths.flatten(1))
        raw[:, 0] = 0
        return to_logits(raw)


def to_logits(raw: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """`log(1 + raw / FLOOR)`."""
    return (raw / FLOOR).log1p_()
