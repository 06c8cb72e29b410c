"""The mixture-of-experts retriever: causal cross-attentions, a router, proxy tokens.

A dual encoder: a user-side vector per position and an item-side vector per item, so that the whole catalogue is scored
by one matrix product. The target never enters the user side.

Dimensions: B users, L positions, D width, N items, T text width, X experts, Y proxies, E memory width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ur4rec.models.config import Expert, RetrieverConfig
from ur4rec.models.dropout import Dropout
from ur4rec.models.experts import Context, make_experts
from ur4rec.models.sasrec import FeedForward, at_position, attend, item_table
from ur4rec.models.text_table import TextTable

NAMES_BEFORE = {
    "sentence_norm": "user_preference.norm",
    "sentence_query": "user_preference.query",
    "sentence_key": "user_preference.key",
    "sentence_value": "user_preference.value",
    "description_norm": "item_description.norm",
    "description_expert": "item_description.attention",
    "embedding_norm": "item_embedding.norm",
    "embedding_expert": "item_embedding.attention",
}
"""Parts of the encoder in files from before the experts had a table → the same among the experts."""


@dataclass(frozen=True)
class RetrieverOutput:
    """User side of every position and how it was mixed."""

    vectors: Float[Tensor, "B L D"]
    expert_weights: Float[Tensor, "B L X"]


@dataclass(frozen=True)
class ItemSide:
    """Vectors of C items, row 0 for padding."""

    identity: Float[Tensor, "C D"]
    description: Float[Tensor, "C D"] | None
    """None where there is no text."""

    def vectors(self) -> Float[Tensor, "C D"]:
        """Item side of the score: ID vector plus projected description."""
        return self.identity if self.description is None else self.identity + self.description

    def directions(self, rows: Int[Tensor, "..."] | None = None) -> Float[Tensor, "*R D"]:
        """Returns what a memory reads of the items, or of some: their vectors at a root mean square of 1.

        Frequent items have the longest vectors, and say the least about a user.
        """
        vectors = self.vectors() if rows is None else self._looked_up(rows)
        return functional.rms_norm(vectors, vectors.shape[-1:])

    def _looked_up(self, rows: Int[Tensor, "*R"]) -> Float[Tensor, "*R D"]:
        """`vectors` of some items; the sum over all items would cost a request the whole catalogue."""
        identity = functional.embedding(rows, self.identity)
        return identity if self.description is None else identity + functional.embedding(rows, self.description)


class ExpertMixture(nn.Module):
    """Mixes the experts' outputs per position; an expert without tokens is left out.

    Args:
        dim: Width D.
        num_experts: X.
        config: Heads and dropout of the self-attention over experts and proxies, and how many proxies; without proxies
            the mixture is a plain average.
    """

    def __init__(self, dim: int, num_experts: int, config: RetrieverConfig) -> None:
        super().__init__()
        self.num_heads, self.num_proxies = config.moe_num_heads, config.moe_num_proxies
        if self.num_proxies:
            self.proxies = nn.Parameter(torch.randn(self.num_proxies, dim) * 0.02)
            self.norm = nn.LayerNorm(dim)
            self.attention_input = nn.Linear(dim, 3 * dim, bias=False)
            self.attention_output = nn.Linear(dim, dim)
            self.router = nn.Linear(dim, num_experts)
        self.dropout = Dropout(config.moe_dropout)

    def forward(
        self, queries: Float[Tensor, "R D"], experts: Float[Tensor, "R X D"], available: Bool[Tensor, "R X"]
    ) -> tuple[Float[Tensor, "R D"], Float[Tensor, "R X"]]:
        """Returns the mixture and the weight of each expert; a row's weights sum to 1, or to 0 if it has no expert."""
        if not self.num_proxies:
            weights = available / available.sum(dim=1, keepdim=True).clamp_min(1)
            return torch.einsum("rx,rxd->rd", weights, experts), weights
        refined = experts + self._refine(experts, available)
        logits = self.router(queries).float()
        weights = logits.masked_fill(~available, torch.finfo(logits.dtype).min).softmax(dim=1) * available
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
    """The experts of `ur4rec.models.experts` over the history and the user's texts, mixed for every position.

    Args:
        num_items: N; item 0 is padding.
        max_seq_len: Largest number of positions.
        memory_dim: Width E of what a memory says; 0 for none.
        config: Shape.
    """

    def __init__(self, num_items: int, max_seq_len: int, memory_dim: int, config: RetrieverConfig) -> None:
        super().__init__()
        dim, dropout, text_dim = config.retriever_output_dim, config.moe_dropout, config.text_components
        self.id_dropout, self.id_bound, self.enabled = config.id_dropout, config.id_bound, config.moe_experts
        self.text = TextTable(text_dim)
        self.item_embedding = item_table(num_items, dim)
        self.register_buffer("is_trained", torch.ones(num_items + 1, dtype=torch.bool))
        self.description_projection = nn.Linear(text_dim, dim, bias=False)
        self.sentence_projection = nn.Linear(text_dim, dim, bias=False)
        nn.init.normal_(self.description_projection.weight, std=0.02 * text_dim**-0.5)
        self.query_norm = nn.LayerNorm(dim)
        self.experts = make_experts(config, max_seq_len)
        self.mixture = ExpertMixture(dim, len(self.experts), config)
        if memory_dim:
            self.memory_projection = nn.Linear(memory_dim, dim, bias=False)  # an empty memory says nothing
            self.memory_gate = nn.Linear(dim + memory_dim, dim)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, dropout)
        self.output_norm = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)

    def upgrade(self, state: dict[str, Any], prefix: str) -> None:
        """Adapts a state dictionary of an older model in place, so that it fits this one.

        Experts get their present names. One that the older model did not have yet stays as it is here, where it takes
        no part; the router then gives it a row of zeros. `prefix` stands before this module's own names.
        """
        for name in [name for name in state if name.startswith(prefix)]:
            part, _, rest = name.removeprefix(prefix).partition(".")
            if part in NAMES_BEFORE:
                state[f"{prefix}experts.{NAMES_BEFORE[part]}.{rest}"] = state.pop(name)
        known = [expert for expert in Expert if any(name.startswith(f"{prefix}experts.{expert}.") for name in state)]
        if not known or not set(self.enabled) <= set(known) or len(known) == len(Expert):
            return
        rows = [list(Expert).index(expert) for expert in known]
        for name, own in self.state_dict(prefix=prefix).items():
            if name.startswith(tuple(f"{prefix}experts.{expert}." for expert in Expert if expert not in known)):
                state[name] = own
            elif name.startswith(f"{prefix}mixture.router.") and len(state.get(name, ())) == len(known):
                state[name] = torch.zeros_like(own).index_copy(0, torch.tensor(rows), state[name])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        self.upgrade(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def item_side(self, rows: Int[Tensor, "C"] | None = None, drop_ids: bool = False) -> ItemSide:
        """Returns what the retriever knows about all items, or about some.

        An item without training interactions has no ID vector, only its text. With `drop_ids`, a random share of the
        others is to do with its text as well.
        """
        identity: Tensor = self.item_embedding.weight if rows is None else self.item_embedding(rows)
        kept = self.get_buffer("is_trained")
        if drop_ids and self.id_dropout:  # drawn for all, so that it does not matter which of them a step names
            kept = kept & (torch.rand(len(kept), device=kept.device) >= self.id_dropout)
        identity = identity * (kept if rows is None else kept[rows])[:, None]
        item_text = self.text.items(rows)
        if item_text is None:
            return ItemSide(identity, None)
        described = self.description_projection(item_text)
        return ItemSide(_bound(identity, described, self.id_bound) if self.id_bound else identity, described)

    def forward(
        self,
        input_seq: Int[Tensor, "B L"],
        user_ids: Int[Tensor, "B"],
        targets: Int[Tensor, "B L"],
        memory: Float[Tensor, "B Q E"] | None,
        items: ItemSide,
        last: Int[Tensor, "B"] | None = None,
        num_snapshots: int | None = None,
    ) -> RetrieverOutput:
        """User side of every position, or of one; it reads that position and earlier ones only.

        Args:
            input_seq: Item indices, oldest first, padded with 0 after the sequence.
            user_ids: Whose text to read; 0 for nobody's.
            targets: Index of the interaction that each position predicts.
            memory: What the memory says at each position; with `last` at that one.
            items: What `item_side` returned.
            last: The only position of each row that is wanted.
            num_snapshots: Texts in reach of a row, as `Window` has them.
        """
        scale = self.item_embedding.embedding_dim**0.5
        identity = functional.embedding(input_seq, items.identity) * scale
        has_text = items.description is not None
        described = torch.zeros_like(identity)
        if items.description is not None:
            described = functional.embedding(input_seq, items.description) * scale
        query, valid = identity + described, input_seq > 0
        if last is not None:
            query, targets, valid = (at_position(each, last) for each in (query, targets, valid))
        query = self.dropout(query)
        normed = self.query_norm(query)
        sentences, is_readable = self.text.visible(user_ids, targets, valid, num_snapshots)
        context = Context(identity, described, has_text, self.sentence_projection(sentences), is_readable, last)
        outputs, available = zip(*(self._ask(name, normed, context) for name in self.experts), strict=True)
        stacked = (torch.stack(each, dim=2).flatten(0, 1) for each in (outputs, available))
        mixture, weights = self.mixture(normed.flatten(0, 1), *stacked)
        hidden = query + self.dropout(mixture.view_as(query))
        hidden = hidden + self.dropout(self.feed_forward(self.feed_forward_norm(hidden)))
        vectors = self.output_norm(hidden)
        if memory is not None:
            vectors = vectors + self._remember(normed, memory)
        return RetrieverOutput(vectors, weights.view(*query.shape[:2], -1))

    def _ask(
        self, name: str, query: Float[Tensor, "B Q D"], context: Context
    ) -> tuple[Float[Tensor, "B Q D"], Bool[Tensor, "B Q"]]:
        """Returns what an expert says, and where it takes part."""
        output, available = self.experts[name](query, context)
        return output, available if name in self.enabled else torch.zeros_like(available)

    def _remember(self, query: Float[Tensor, "B Q D"], memory: Float[Tensor, "B Q E"]) -> Float[Tensor, "B Q D"]:
        """Returns what the memory adds; it is normalised as the query is, so that neither drowns the other."""
        memory = functional.layer_norm(memory, memory.shape[-1:])
        gate = torch.sigmoid(self.memory_gate(torch.cat([query, memory], dim=-1)))
        remembered: Tensor = self.dropout(gate * self.memory_projection(memory))
        return remembered


def _bound(identity: Float[Tensor, "C D"], described: Float[Tensor, "C D"], bound: float) -> Float[Tensor, "C D"]:
    """Shortens ID vectors to `bound` times the length of their texts' (after arXiv 2507.19473)."""
    length = identity.norm(dim=1, keepdim=True).clamp_min(torch.finfo(identity.dtype).tiny)
    bounded: Tensor = identity * (bound * described.norm(dim=1, keepdim=True) / length).clamp_max(1)
    return bounded
