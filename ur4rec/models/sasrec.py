"""SASRec: a causal transformer over the interaction sequence.

Kang & McAuley 2018, "Self-Attentive Sequential Recommendation"; relative position bias after Raffel et al. 2020
(T5), pre-norm blocks.

Dimensions: B users in a batch, L positions, D width, H heads, N items.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional

from ur4rec.models.config import SASRecConfig
from ur4rec.models.dropout import Dropout

EMBEDDING_STD = 0.02


class RelativeAttention(nn.Module):
    """Causal multi-head attention with a learned bias per head and distance.

    Args:
        dim: Width D; a multiple of `num_heads`.
        num_heads: Heads H.
        max_len: Largest number of positions.
        dropout: Share of attention weights dropped in training.
    """

    def __init__(self, dim: int, num_heads: int, max_len: int, dropout: float) -> None:
        super().__init__()
        assert dim % num_heads == 0, f"width {dim}, {num_heads} heads"
        self.num_heads = num_heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)  # a softmax would not see it
        self.value = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, dim)
        self.distance_bias = nn.Parameter(torch.zeros(num_heads, max_len))
        self.dropout = Dropout(dropout)

    def forward(
        self, queries: Float[Tensor, "B Q D"], tokens: Float[Tensor, "B L D"], last: Int[Tensor, "B"] | None = None
    ) -> Float[Tensor, "B Q D"]:
        """Position t of the queries attends to tokens 0..t; with `last`, a row has one query, at that position."""
        query, key, value = self.query(queries), self.key(tokens), self.value(tokens)
        bias = self._bias(tokens.shape[1], last)
        mixed: Tensor = self.output(attend(query, key, value, self.num_heads, bias, self.dropout))
        return mixed

    def _bias(self, length: int, last: Int[Tensor, "B"] | None) -> Float[Tensor, "B1 H Q L"]:
        """Bias of each head by distance, the same for every row where all positions ask; −inf for the future."""
        positions = torch.arange(length, device=self.distance_bias.device)
        asking = positions[None] if last is None else last[:, None]
        distance = asking[:, :, None] - positions
        bias = self.distance_bias[:, distance.clamp_min(0)].masked_fill(distance < 0, float("-inf"))
        return bias.transpose(0, 1)


def attend(
    query: Float[Tensor, "B Q D"],
    key: Float[Tensor, "B K D"],
    value: Float[Tensor, "B K D"],
    num_heads: int,
    bias: Float[Tensor, "..."],
    dropout: nn.Module,
) -> Float[Tensor, "B Q D"]:
    """Multi-head scaled dot-product attention of projected tokens, with dropout on its weights.

    The bias is broadcast to `[B, H, Q, K]`; −inf masks a key, and no query may have every key masked.
    """
    batch, num_queries, dim = query.shape
    scaled = query * (dim // num_heads) ** -0.5
    queries, keys, values = (_split(each, num_heads) for each in (scaled, key, value))
    scores = torch.bmm(queries, keys.mT).view(batch, num_heads, num_queries, -1)
    weights = dropout((scores + bias).softmax(dim=-1))
    mixed = torch.bmm(weights.flatten(0, 1), values).view(batch, num_heads, num_queries, -1)
    return mixed.transpose(1, 2).reshape(batch, num_queries, dim)


def _split(tokens: Float[Tensor, "B L D"], num_heads: int) -> Float[Tensor, "BH L K"]:
    """Returns the tokens of each row and head, K wide, one after the other in memory, so that products copy nothing."""
    heads: Tensor = tokens.unflatten(-1, (num_heads, -1))
    return heads.transpose(1, 2).flatten(0, 1)


class FeedForward(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), Dropout(dropout), nn.Linear(2 * dim, dim))

    def forward(self, hidden: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Transforms every position alone."""
        transformed: Tensor = self.layers(hidden)
        return transformed


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        dim = config.sasrec_hidden_dim
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = RelativeAttention(dim, config.sasrec_num_heads, config.max_seq_len, config.sasrec_dropout)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, config.sasrec_dropout)
        self.dropout = Dropout(config.sasrec_dropout)

    def forward(self, hidden: Float[Tensor, "B L D"], last: Int[Tensor, "B"] | None = None) -> Float[Tensor, "B Q D"]:
        """Attention, then the feed-forward layer, each added to its input; with `last`, for one position of a row."""
        normed = self.attention_norm(hidden)
        mixed = self.attention(normed if last is None else at_position(normed, last), normed, last)
        hidden = (hidden if last is None else at_position(hidden, last)) + self.dropout(mixed)
        transformed: Tensor = hidden + self.dropout(self.feed_forward(self.feed_forward_norm(hidden)))
        return transformed


class SASRec(nn.Module):
    """Sequence encoder; the score of item i at a position is `h · e_i`.

    The vector of an item is its embedding plus a linear map of fixed factors (what is known of the item before
    training); both sides of the score use it.

    Args:
        num_items: N; item 0 is padding.
        config: Shape of the encoder.
    """

    def __init__(self, num_items: int, config: SASRecConfig) -> None:
        super().__init__()
        self.config = config
        self.item_embedding = item_table(num_items, config.sasrec_hidden_dim)
        if config.sasrec_item_factors:
            self.register_buffer("item_factors", torch.zeros(num_items + 1, config.sasrec_item_factors))
            self.factor_projection = nn.Linear(config.sasrec_item_factors, config.sasrec_hidden_dim, bias=False)
            nn.init.normal_(self.factor_projection.weight, std=0.02 * config.sasrec_item_factors**-0.5)
        self.dropout = Dropout(config.sasrec_dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.sasrec_num_blocks))
        self.norm = nn.LayerNorm(config.sasrec_hidden_dim)

    @torch.no_grad()
    def start_from(self, factors: Float[Tensor, "N1 F"]) -> None:
        """Begins with what the factors say: the widest ones as embeddings, all of them as the fixed table."""
        dim = min(factors.shape[1], self.config.sasrec_hidden_dim)
        self.item_embedding.weight[:, :dim] = factors[:, :dim] * EMBEDDING_STD
        if self.config.sasrec_item_factors:
            self.get_buffer("item_factors").copy_(factors[:, : self.config.sasrec_item_factors])

    @torch.no_grad()
    def start_with(
        self, vectors: Float[Tensor, "N1 D"], factors: Float[Tensor, "N1 F"], projection: Float[Tensor, "D F"]
    ) -> None:
        """Begins with item vectors that are known: `item_vectors` then returns them.

        Args:
            vectors: Row 0 for padding.
            factors: The fixed table.
            projection: What the factors can say of the vectors, as a linear map; the embeddings hold the rest.
        """
        self.item_embedding.weight.copy_(vectors)
        if self.config.sasrec_item_factors:
            self.get_buffer("item_factors").copy_(factors)
            self.factor_projection.weight.copy_(projection)
            self.item_embedding.weight.sub_(self.factor_projection(factors))

    def forward(
        self,
        input_seq: Int[Tensor, "B L"],
        items: Float[Tensor, "N1 D"] | None = None,
        last: Int[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B Q D"]:
        """Representation of every position, or of one; it reads that position and earlier ones only.

        Args:
            input_seq: Item indices, oldest first, padded with 0 *after* the sequence (see `align_left`).
            items: What `item_vectors` returned, where it is there already.
            last: The only position of each row that is wanted.
        """
        vectors = self.item_vectors() if items is None else items
        hidden = self.dropout(functional.embedding(input_seq, vectors) * self.config.sasrec_hidden_dim**0.5)
        *blocks, final = self.blocks
        for block in blocks:
            hidden = block(hidden)
        hidden = final(hidden, last)
        normed: Tensor = self.norm(hidden)
        return normed

    def item_vectors(self, rows: Int[Tensor, "C"] | None = None) -> Float[Tensor, "N1 D"]:
        """Item side of the score, row 0 for padding; of all items, or of some rows."""
        embeddings: Tensor = self.item_embedding.weight if rows is None else self.item_embedding(rows)
        if not self.config.sasrec_item_factors:
            return embeddings
        factors = self.get_buffer("item_factors")
        projected: Tensor = self.factor_projection(factors if rows is None else factors[rows])
        return embeddings + projected


def at_position(values: Shaped[Tensor, "B L *shape"], last: Int[Tensor, "B"]) -> Shaped[Tensor, "B 1 *shape"]:
    """One position of each row."""
    return values[torch.arange(len(last), device=last.device), last].unsqueeze(1)


def item_table(num_items: int, dim: int) -> nn.Embedding:
    """Embedding of N items and the padding row 0, with a small start."""
    table = nn.Embedding(num_items + 1, dim, padding_idx=0)
    nn.init.normal_(table.weight, std=EMBEDDING_STD)
    with torch.no_grad():
        table.weight[0] = 0
    return table


def align_left(
    input_seq: Int[Tensor, "B L"], timestamps: Int[Tensor, "B L"]
) -> tuple[Int[Tensor, "B L"], Int[Tensor, "B L"], Int[Tensor, "B"]]:
    """Moves the items of each row to its start, so that padding on either side reads the same.

    Returns:
        Sequence, timestamps (both aligned) and the number of items in each row.
    """
    padding: Bool[Tensor, "B L"] = input_seq == 0
    order = padding.to(torch.uint8).argsort(dim=1, stable=True)
    lengths = (~padding).sum(dim=1)
    return input_seq.gather(1, order), timestamps.gather(1, order), lengths
