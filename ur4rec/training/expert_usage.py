"""How the router used the experts, in flat memory.

Dimensions: B users, X experts, K bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ur4rec.models.text_preference_retriever_moe import EXPERTS

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

    >>> usage = ExpertUsage(torch.device("cpu"))
    >>> usage.add(torch.tensor([[0.0, 0.25, 0.75], [0.5, 0.25, 0.25]]))
    >>> usage.means()
    {'user_preference': 0.25, 'item_description': 0.25, 'item_embedding': 0.5}
    """

    def __init__(self, device: torch.device) -> None:
        self.count = 0
        self.sums = torch.zeros(2, len(EXPERTS), dtype=torch.float64, device=device)
        self.bins = torch.zeros(len(EXPERTS), NUM_BINS, dtype=torch.int64, device=device)

    def add(self, weights: Float[Tensor, "B X"]) -> None:
        """Counts the weights of some users."""
        self.count += len(weights)
        exact = weights.double()
        self.sums += torch.stack([exact.sum(dim=0), exact.square().sum(dim=0)])
        places = (exact * NUM_BINS).long().clamp(0, NUM_BINS - 1)
        self.bins.scatter_add_(1, places.T, torch.ones_like(places.T))

    def means(self) -> dict[str, float]:
        """Mean weight of each expert; they sum to 1, or to 0 where nothing was counted."""
        total = self.sums[0].sum().clamp_min(torch.finfo(torch.float64).tiny)
        return dict(zip(EXPERTS, (self.sums[0] / total).tolist(), strict=True))

    def distributions(self) -> dict[str, Distribution]:
        """Of each expert; nothing where nothing was counted."""
        if not self.count:
            return {}
        columns = zip(EXPERTS, *self.sums.tolist(), self.bins.tolist(), strict=True)
        return {name: Distribution(self.count, total, squares, bins) for name, total, squares, bins in columns}
