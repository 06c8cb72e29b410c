"""The experts of the retriever: each answers the query of every position from one thing that is known of the user.

A further expert is a member of `Expert`, a class here and its row of `EXPERTS`.

Dimensions: B users, L positions of the history, Q queries (one a position, or the last alone), D width, S sentences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ur4rec.models.config import Expert, RetrieverConfig
from ur4rec.models.dropout import Dropout
from ur4rec.models.sasrec import RelativeAttention, attend


@dataclass(frozen=True)
class Context:
    """What an expert may read; a query at position t may use positions 0..t of it."""

    identity: Float[Tensor, "B L D"]
    """ID vectors of the history's items."""
    described: Float[Tensor, "B L D"]
    """Their descriptions; zeros where there are no texts."""
    has_text: bool
    sentences: Float[Tensor, "B S D"]
    """Sentences about the user, of all the texts in reach."""
    is_readable: Bool[Tensor, "B Q S"]
    """Which sentences existed before the item that a query predicts."""
    last: Int[Tensor, "B"] | None
    """Position of the only query of each row; None where every position asks."""


class UserPreferenceExpert(nn.Module):
    """Reads the sentences about the user that a query may know."""

    def __init__(self, config: RetrieverConfig, max_len: int) -> None:
        super().__init__()
        dim = config.retriever_output_dim
        self.num_heads = config.moe_num_heads
        self.norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim)
        self.dropout = Dropout(config.moe_dropout)

    def forward(
        self, query: Float[Tensor, "B Q D"], context: Context
    ) -> tuple[Float[Tensor, "B Q D"], Bool[Tensor, "B Q"]]:
        """Returns what each query has read, zeros where it may read nothing, and whether it may read something."""
        available = context.is_readable.any(dim=2)
        if not context.sentences.shape[1]:
            return torch.zeros_like(query), available
        tokens = self.norm(context.sentences)
        mask = context.is_readable | ~available[..., None]  # a query must attend to something; it is dropped below
        bias = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, float("-inf"))[:, None]
        key, value = self.key(tokens), self.value(tokens)
        read = attend(self.query(query), key, value, self.num_heads, bias, self.dropout)
        return read * available[..., None], available


class _HistoryExpert(nn.Module):
    """Reads the history up to the query's position, with a bias by distance."""

    def __init__(self, config: RetrieverConfig, max_len: int) -> None:
        super().__init__()
        dim = config.retriever_output_dim
        self.norm = nn.LayerNorm(dim)
        self.attention = RelativeAttention(dim, config.moe_num_heads, max_len, config.moe_dropout)


class ItemDescriptionExpert(_HistoryExpert):
    """Reads the descriptions of the history's items."""

    def forward(
        self, query: Float[Tensor, "B Q D"], context: Context
    ) -> tuple[Float[Tensor, "B Q D"], Bool[Tensor, "B Q"]]:
        """Returns what each query has read, and whether there are texts at all."""
        available = torch.full(query.shape[:2], context.has_text, device=query.device)
        return self.attention(query, self.norm(context.described), context.last), available


class ItemEmbeddingExpert(_HistoryExpert):
    """Reads the ID vectors of the history's items."""

    def forward(
        self, query: Float[Tensor, "B Q D"], context: Context
    ) -> tuple[Float[Tensor, "B Q D"], Bool[Tensor, "B Q"]]:
        """Returns what each query has read; it is always available."""
        available = torch.ones(query.shape[:2], dtype=torch.bool, device=query.device)
        return self.attention(query, self.norm(context.identity), context.last), available


EXPERTS: Mapping[Expert, type[nn.Module]] = {
    Expert.USER_PREFERENCE: UserPreferenceExpert,
    Expert.ITEM_DESCRIPTION: ItemDescriptionExpert,
    Expert.ITEM_EMBEDDING: ItemEmbeddingExpert,
}
"""Each is made of the retriever's shape and the largest number of positions."""


def make_experts(config: RetrieverConfig, max_len: int) -> nn.ModuleDict:
    """Makes every expert under its name, those too that take no part in the mixture."""
    return nn.ModuleDict({expert.value: EXPERTS[expert](config, max_len) for expert in Expert})
