"""The mixture-of-experts retriever: three causal cross-attentions, a router, proxy tokens.

A dual encoder: a user-side vector per position and an item-side vector per item, so that the whole catalogue is scored
by one matrix product. The target never enters the user side.

Dimensions: B users, L positions, D width, N items, T text width, X experts, Y proxies, E memory width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from ur4rec.config_section import ConfigSection
from ur4rec.models.sasrec import FeedForward, RelativeAttention, attend, item_table
from ur4rec.models.text_table import TextTable

EXPERTS = ("user_preference", "item_description", "item_embedding")


class RetrieverConfig(ConfigSection):
    """Shape of the retriever."""

    retriever_output_dim: int = Field(64, ge=1)
    moe_num_heads: int = Field(2, ge=1)
    moe_dropout: float = Field(0.2, ge=0, lt=1)
    moe_num_proxies: int = Field(4, ge=0)
    """Learnable tokens that refine the mixture; 0 replaces router and self-attention by a plain average."""


@dataclass(frozen=True)
class RetrieverOutput:
    """User side of every position and how it was mixed."""

    vectors: Float[Tensor, "B L D"]
    expert_weights: Float[Tensor, "B L X"]


class ExpertMixture(nn.Module):
    """Mixes the experts' outputs per position; an expert without tokens is left out.

    Args:
        dim: Width D.
        num_heads: Heads of the self-attention over experts and proxies.
        num_proxies: Y; 0 means a plain average.
        dropout: On the self-attention's weights.
    """

    def __init__(self, dim: int, num_heads: int, num_proxies: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.num_proxies = num_proxies
        if num_proxies:
            self.proxies = nn.Parameter(torch.randn(num_proxies, dim) * 0.02)
            self.norm = nn.LayerNorm(dim)
            self.attention_input = nn.Linear(dim, 3 * dim, bias=False)
            self.attention_output = nn.Linear(dim, dim)
            self.router = nn.Linear(dim, len(EXPERTS))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, queries: Float[Tensor, "R D"], experts: Float[Tensor, "R X D"], available: Bool[Tensor, "R X"]
    ) -> tuple[Float[Tensor, "R D"], Float[Tensor, "R X"]]:
        """Returns the mixture and the weight of each expert; the weights of a row sum to 1."""
        if not self.num_proxies:
            weights = available / available.sum(dim=1, keepdim=True)
            return torch.einsum("rx,rxd->rd", weights, experts), weights
        refined = experts + self._refine(experts, available)
        weights = self.router(queries).masked_fill(~available, float("-inf")).softmax(dim=1)
        return torch.einsum("rx,rxd->rd", weights, refined), weights

    def _refine(self, experts: Float[Tensor, "R X D"], available: Bool[Tensor, "R X"]) -> Float[Tensor, "R X D"]:
        proxies = self.proxies.expand(len(experts), -1, -1)
        tokens = self.norm(torch.cat([experts, proxies], dim=1))
        query, key, value = self.attention_input(tokens).chunk(3, dim=-1)
        allowed = nn.functional.pad(available, (0, self.num_proxies), value=True)
        bias = torch.zeros_like(allowed, dtype=query.dtype).masked_fill(~allowed, float("-inf"))
        query = query[:, : experts.shape[1]]
        mixed = attend(query, key, value, self.num_heads, bias[:, None, None], self.dropout)
        refinement: Tensor = self.attention_output(mixed)
        return refinement


class TextPreferenceRetrieverMoE(nn.Module):
    """Three experts over the user's text, the history's descriptions and the history's ID embeddings.

    Args:
        num_items: N; item 0 is padding.
        max_seq_len: Largest number of positions.
        text_dim: Width T of the text embeddings.
        memory_dim: Width E of what a memory says; 0 for none.
        config: Shape.
    """

    def __init__(
        self, num_items: int, max_seq_len: int, text_dim: int, memory_dim: int, config: RetrieverConfig
    ) -> None:
        super().__init__()
        dim, heads, dropout = config.retriever_output_dim, config.moe_num_heads, config.moe_dropout
        self.num_heads = heads
        self.text = TextTable(text_dim)
        self.item_embedding = item_table(num_items, dim)
        self.description_projection = nn.Linear(text_dim, dim, bias=False)
        self.sentence_projection = nn.Linear(text_dim, dim, bias=False)
        nn.init.normal_(self.description_projection.weight, std=0.02 * text_dim**-0.5)
        self.query_norm = nn.LayerNorm(dim)
        self.sentence_norm = nn.LayerNorm(dim)
        self.sentence_query = nn.Linear(dim, dim)
        self.sentence_key = nn.Linear(dim, dim, bias=False)
        self.sentence_value = nn.Linear(dim, dim)
        self.description_norm = nn.LayerNorm(dim)
        self.description_expert = RelativeAttention(dim, heads, max_seq_len, dropout)
        self.embedding_norm = nn.LayerNorm(dim)
        self.embedding_expert = RelativeAttention(dim, heads, max_seq_len, dropout)
        self.mixture = ExpertMixture(dim, heads, config.moe_num_proxies, dropout)
        if memory_dim:
            self.memory_projection = nn.Linear(memory_dim, dim)
            self.memory_gate = nn.Linear(dim + memory_dim, dim)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, dropout)
        self.output_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def descriptions(self) -> Float[Tensor, "N1 D"] | None:
        """Projected description of every item, or None where there is no text."""
        item_text = self.text.items()
        if item_text is None:
            return None
        projected: Tensor = self.description_projection(item_text)
        return projected

    def item_vectors(self) -> Float[Tensor, "N1 D"]:
        """Item side of the score: ID embedding plus projected description."""
        descriptions = self.descriptions()
        identity: Tensor = self.item_embedding.weight
        return identity if descriptions is None else identity + descriptions

    def forward(
        self,
        input_seq: Int[Tensor, "B L"],
        user_ids: Int[Tensor, "B"],
        targets: Int[Tensor, "B L"],
        memory: Float[Tensor, "B L E"] | None,
    ) -> RetrieverOutput:
        """User side of every position; it reads that position and earlier ones only.

        Args:
            input_seq: Item indices, oldest first, padded with 0 after the sequence.
            user_ids: Whose text to read; 0 for nobody's.
            targets: Index of the interaction that each position predicts.
            memory: What the memory says at each position.
        """
        scale = self.item_embedding.embedding_dim**0.5
        identity = self.item_embedding(input_seq) * scale
        descriptions = self.descriptions()
        described = torch.zeros_like(identity) if descriptions is None else descriptions[input_seq] * scale
        query = identity + described
        if memory is not None:
            gate = torch.sigmoid(self.memory_gate(torch.cat([query, memory], dim=-1)))
            query = query + gate * self.memory_projection(memory)
        query = self.dropout(query)
        normed = self.query_norm(query)
        preference, readable = self._preference_expert(normed, user_ids, targets, input_seq > 0)
        experts = torch.stack(
            [
                preference,
                self.description_expert(normed, self.description_norm(described)),
                self.embedding_expert(normed, self.embedding_norm(identity)),
            ],
            dim=2,
        )
        has_text = torch.full_like(readable, descriptions is not None)
        available = torch.stack([readable, has_text, torch.ones_like(readable)], dim=2)
        mixture, weights = self.mixture(normed.flatten(0, 1), experts.flatten(0, 1), available.flatten(0, 1))
        hidden = query + self.dropout(mixture.view_as(query))
        hidden = hidden + self.dropout(self.feed_forward(self.feed_forward_norm(hidden)))
        return RetrieverOutput(self.output_norm(hidden), weights.view(*input_seq.shape, -1))

    def _preference_expert(
        self,
        query: Float[Tensor, "B L D"],
        user_ids: Int[Tensor, "B"],
        targets: Int[Tensor, "B L"],
        valid: Bool[Tensor, "B L"],
    ) -> tuple[Float[Tensor, "B L D"], Bool[Tensor, "B L"]]:
        sentences, mask = self.text.visible(user_ids, targets, valid)
        readable = mask.any(dim=2)
        if not bool(readable.any()):
            return torch.zeros_like(query), readable
        tokens = self.sentence_norm(self.sentence_projection(sentences))
        mask = mask | ~readable[..., None]  # a row must attend to something; what it reads is dropped below
        bias = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, float("-inf"))[:, None]
        key, value = self.sentence_key(tokens), self.sentence_value(tokens)
        read = attend(self.sentence_query(query), key, value, self.num_heads, bias, self.dropout)
        return read * readable[..., None], readable
