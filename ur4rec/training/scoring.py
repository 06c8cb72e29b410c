"""Scores of the whole catalogue for users with a history, and how the router used the experts meanwhile.

Dimensions: B users, N items (N1 = N + 1 columns), R interactions, X experts, K bins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor
from torch.nn import functional

from ur4rec.columns import ITEM, USER
from ur4rec.data.sequences import Histories
from ur4rec.models.config import Part
from ur4rec.models.retriever_moe_memory import Window
from ur4rec.models.ur4rec_v2_moe import Encoded, UR4RecV2MoE
from ur4rec.models.user_memory import MemoryState, Runs
from ur4rec.ranking.ranks import Scorer
from ur4rec.training.ranks import ALONE, Total

NUM_BINS = 20


@dataclass(frozen=True)
class Distribution:
    """Weights of one expert."""

    count: int
    total: float
    total_squares: float
    bins: list[int]
    """Weights in equal parts of 0..1."""


class ExpertUsage:
    """Sums and histograms of the router's weights.

    >>> usage = ExpertUsage(("texts", "items"), torch.device("cpu"))
    >>> usage.add(torch.tensor([[0.25, 0.75], [0.75, 0.25]]))
    >>> usage.means()
    {'texts': 0.5, 'items': 0.5}

    Args:
        experts: Names of the columns.
        device: Where the weights are.
    """

    def __init__(self, experts: Sequence[str], device: torch.device) -> None:
        self.experts, self.count = experts, 0
        self.sums = torch.zeros(2, len(experts), dtype=torch.float64, device=device)
        self.bins = torch.zeros(len(experts), NUM_BINS, dtype=torch.int64, device=device)

    def add(self, weights: Float[Tensor, "B X"]) -> None:
        """Counts the weights of some users."""
        self.count += len(weights)
        exact = weights.double()
        self.sums += torch.stack([exact.sum(dim=0), exact.square().sum(dim=0)])
        places = (exact * NUM_BINS).long().clamp(0, NUM_BINS - 1)
        self.bins.scatter_add_(1, places.T, torch.ones_like(places.T))

    def add_up(self, total: Total) -> None:
        """Adds what other processes have counted."""
        counts = total(torch.cat([self.sums.flatten(), self.bins.flatten(), self.sums.new_tensor([self.count])]))
        sums, bins, count = counts.split([self.sums.numel(), self.bins.numel(), 1])
        self.sums, self.bins, self.count = sums.view_as(self.sums), bins.view_as(self.bins).long(), int(count)

    def means(self) -> dict[str, float]:
        """Mean weight of each expert; they sum to 1, or to 0 where nothing was counted."""
        total = self.sums[0].sum().clamp_min(torch.finfo(torch.float64).tiny)
        return dict(zip(self.experts, (self.sums[0] / total).tolist(), strict=True))

    def distributions(self) -> dict[str, Distribution]:
        """Returns the distribution of each expert; nothing where nothing was counted."""
        if not self.count:
            return {}
        columns = zip(self.experts, *self.sums.tolist(), self.bins.tolist(), strict=True)
        return {name: Distribution(self.count, total, squares, bins) for name, total, squares, bins in columns}


class LossMeter:
    """Scores users as another scorer does, and sums the cross-entropy of their targets over the catalogue on the way.

    Args:
        scorer: User indices → scores that are logits; column 0 is padding.
        targets: Rows `user, item, timestamp_s` of the users, one each, `[V, 3]`.
    """

    def __init__(self, scorer: Scorer, targets: np.ndarray) -> None:
        self.scorer, self.total, self.count = scorer, 0.0, 0
        self._target_of = np.zeros(int(targets[:, USER].max(initial=0)) + 1, dtype=np.int64)
        self._target_of[targets[:, USER]] = targets[:, ITEM]

    def __call__(self, users: Int64[np.ndarray, "B"]) -> Float[Tensor, "B N1"]:
        """Scores of users, who have a target each."""
        scores = self.scorer(users)
        target = torch.from_numpy(self._target_of[users]).to(scores.device)
        loss = scores[:, 1:].logsumexp(dim=1) - scores.gather(1, target[:, None])[:, 0]
        self.total += float(loss.double().sum())
        self.count += len(users)
        return scores

    def add_up(self, total: Total) -> None:
        """Adds what other processes have summed."""
        self.total, count = total(torch.tensor([self.total, self.count], dtype=torch.float64)).tolist()
        self.count = int(count)

    def mean(self) -> float:
        """Mean loss of the users so far; NaN of none."""
        return self.total / self.count if self.count else math.nan


class ModelScorer:
    """Replays the memories over histories once, then scores users in batches.

    Args:
        model: Put into evaluation mode; its stored memories become those of `histories`.
        histories: What each user did before the item to score.
        part: Whose score; the system's by default.
        replay: Whether to replay; without it the memories stay as the model holds them.
        users: Whose memories to replay; everybody's by default.
    """

    def __init__(
        self,
        model: UR4RecV2MoE,
        histories: Histories,
        part: Literal["fused", "sasrec", "retriever"] | None = None,
        replay: bool = True,
        users: Int[np.ndarray, "V"] | None = None,
    ) -> None:
        self.model, self.part = model.eval(), model.config.whole if part is None else Part(part)
        self.device = model.device
        arrays = histories.items, histories.timestamps, histories.offsets[:-1], histories.lengths
        self._histories = Runs(*(torch.from_numpy(np.ascontiguousarray(array)).to(self.device) for array in arrays))
        with torch.no_grad():
            self.sides = model.items(self.part)
            self.item_vectors = self.sides.vectors()
        self.usage = ExpertUsage(tuple(model.retriever.encoder.experts), self.device)
        self._weights = torch.zeros(len(histories.lengths), len(self.usage.experts), device=self.device)
        if replay:
            self._rebuild_memories(np.arange(1, len(self._weights)) if users is None else users)

    def _rebuild_memories(self, whose: Int[np.ndarray, "V"]) -> None:
        memory = self.model.retriever.memory
        if memory is None or self.part is Part.SASREC:
            return
        users = self._to_tensor(whose)
        state = self.model.retriever.replay(self._select(users), self.sides.retriever)
        assert state is not None
        memory.store(users, state)

    def _select(self, users: Int[Tensor, "B"]) -> Runs:
        whole = self._histories
        return replace(whole, starts=whole.starts[users], lengths=whole.lengths[users])

    def __call__(self, users: np.ndarray) -> Float[Tensor, "B N1"]:
        """Scores of every item for each user; column 0 is padding."""
        rows = self._to_tensor(users)
        memory = self.model.retriever.memory
        return self._score(rows, self._select(rows), None if memory is None else memory.stored_state(rows))

    def score_prefixes(self, users: np.ndarray, lengths: np.ndarray) -> Float[Tensor, "B N1"]:
        """Scores for users as of the first `lengths` interactions of each, with a memory that lives for this call."""
        rows, read = self._to_tensor(users), self._to_tensor(lengths)
        starts, whole = read.cumsum(0) - read, self._histories
        shift = (whole.starts[rows] - starts).repeat_interleave(read)
        where = torch.arange(len(shift), device=self.device) + shift
        return self._score_afresh(rows, Runs(whole.items[where], whole.timestamps[where], starts, read))

    def score_histories(
        self, items: Sequence[np.ndarray], timestamps: Sequence[np.ndarray] | None = None
    ) -> Float[Tensor, "B N1"]:
        """Scores for histories of nobody in particular, oldest item first, with a memory that lives for this call.

        Timestamps are in seconds; zeros by default.
        """
        lengths = self._to_tensor(np.array([len(history) for history in items]))
        flat = self._to_tensor(np.concatenate([*items, np.zeros(0, np.int64)]))
        times = torch.zeros_like(flat)
        if timestamps is not None:
            times = self._to_tensor(np.concatenate([*timestamps, np.zeros(0, np.int64)]))
        runs = Runs(flat, times, lengths.cumsum(0) - lengths, lengths)
        return self._score_afresh(torch.zeros_like(lengths), runs)

    def compare_items(self, items: Int[np.ndarray, "B"]) -> Float[Tensor, "B N1"]:
        """Cosines of some items with every item, a mean over the parts that score them; column 0 is padding.

        Parts have vectors of unlike lengths, so each is compared by itself. What all items have in common is taken out
        of their vectors first: else the popular ones are like everything.
        """
        directions: Tensor = self._directions
        return directions[self._to_tensor(items)] @ directions.T

    @cached_property
    @torch.no_grad()
    def _directions(self) -> Float[Tensor, "N1 V"]:
        """Item vectors whose products are those means."""
        retriever = None if self.sides.retriever is None else self.sides.retriever.vectors()
        parts = [part for part in (self.sides.sasrec, retriever, self.sides.content) if part is not None]
        own = [functional.normalize(part[1:] - part[1:].mean(dim=0), dim=1) for part in parts]
        directions: Tensor = functional.pad(torch.cat(own, dim=1), (0, 0, 1, 0)) * len(parts) ** -0.5
        return directions

    def _to_tensor(self, numbers: np.ndarray) -> Int[Tensor, "B"]:
        return torch.from_numpy(np.array(numbers, dtype=np.int64)).to(self.device)

    def _score_afresh(self, users: Int[Tensor, "B"], runs: Runs) -> Float[Tensor, "B N1"]:
        """Scores with memories that are replayed for this call."""
        sides = self.sides.retriever
        return self._score(users, runs, None if sides is None else self.model.retriever.replay(runs, sides))

    @torch.no_grad()
    def score_parts(self, users: np.ndarray) -> Float[Tensor, "B S N1"]:
        """Calibrated scores of every scorer that is fused, before their weights."""
        rows, memory = self._to_tensor(users), self.model.retriever.memory
        state = None if memory is None else memory.stored_state(rows)
        encoded, window = self._encode(rows, self._select(rows), state)
        return self.model.score_parts(encoded, window, self.sides)

    @torch.no_grad()
    def _score(self, users: Int[Tensor, "B"], runs: Runs, state: MemoryState | None) -> Float[Tensor, "B N1"]:
        encoded, window = self._encode(users, runs, state)
        if encoded.expert_weights is not None:
            self.usage.add(encoded.expert_weights[:, 0])
            self._weights[users] = encoded.expert_weights[:, 0].float()
        return self.model.score_last(encoded, window, self.item_vectors, self.part)

    def _encode(self, users: Int[Tensor, "B"], runs: Runs, state: MemoryState | None) -> tuple[Encoded, Window]:
        """User sides after the last item of each run."""
        kept = runs.lengths.clamp_max(self.model.config.max_seq_len)
        starts = runs.lengths - kept
        newest = replace(runs, starts=runs.starts + starts, lengths=kept)
        window = Window(users, *newest.pad(0 if len(kept) and int(kept.max()) else 1), starts)
        return self.model.encode(window, state, self.part, self.sides, (kept - 1).clamp_min(0)), window

    def expert_weights(self, users: np.ndarray | None = None) -> dict[str, float]:
        """Mean router weight of each expert over the users scored so far, or over some of them, each counted once."""
        if users is None:
            return self.usage.means()
        usage = ExpertUsage(self.usage.experts, self.device)
        usage.add(self._weights[self._to_tensor(users)])
        return usage.means()

    def statistics(self, total: Total = ALONE.total) -> dict[str, float]:
        """Returns mean weights of experts and counts of memories, where they take part in the score.

        `total` adds up the memories that several processes hold.
        """
        if not self.usage.count:
            return {}
        weights = {f"expert_weight/{name}": value for name, value in self.expert_weights().items()}
        return weights | {f"memory/{name}": float(value) for name, value in self.memory_stats(total).items()}

    def memory_stats(self, total: Total = ALONE.total) -> dict[str, int | float]:
        """Statistics of the replayed memories."""
        return self.model.get_memory_stats(total)
