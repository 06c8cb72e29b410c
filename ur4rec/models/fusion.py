"""Fusion: a weighted sum of calibrated logits.

SASRec and the retriever are dual encoders, so their fused score is one too: the user sides are scaled and set side by
side, and so are the item sides. The co-occurrence scorer, where there is one, adds its sparse logits.

Dimensions: B users, L positions, D width of SASRec, F width of the retriever, N items, S scorers.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ur4rec.models.config import FusionConfig, FusionMethod


class Fusion(nn.Module):
    """Weights of the scorers' logits at every position.

    Args:
        sasrec_dim: Width D.
        retriever_dim: Width F.
        has_cooccurrence: Whether the co-occurrence scorer takes part.
        has_content: Whether the content scorer takes part.
        config: Method and weights.
    """

    def __init__(
        self,
        sasrec_dim: int,
        retriever_dim: int,
        has_cooccurrence: bool,
        has_content: bool,
        config: FusionConfig,
    ) -> None:
        super().__init__()
        self.method = config.fusion_method
        self.sasrec_log_temperature = nn.Parameter(torch.zeros(()))
        self.retriever_log_temperature = nn.Parameter(torch.zeros(()))
        start = [config.sasrec_weight, config.retriever_weight]
        if has_cooccurrence:
            self.register_buffer("cooccurrence_log_temperature", torch.zeros(()))
            start.append(config.cooccurrence_weight)
        self.content_place = len(start)
        if has_content:
            self.register_buffer("content_log_temperature", torch.zeros(()))
            start.append(config.content_weight)
        self.raises_new_items = config.new_item_share > 0
        if self.raises_new_items:
            self.register_buffer("new_item_offset", torch.zeros(()))
        if self.method is FusionMethod.WEIGHTED:
            self.register_buffer("weights", torch.tensor(start))
        else:
            self.register_buffer("is_on", torch.tensor(start) > 0, persistent=False)
            self.log_weights = nn.Parameter(torch.where(torch.tensor(start) > 0, torch.tensor(start), 1.0).log())
        if self.method is FusionMethod.ADAPTIVE:
            self.gate = nn.Linear(sasrec_dim + retriever_dim, len(start))
            nn.init.zeros_(self.gate.weight)
            nn.init.zeros_(self.gate.bias)

    @property
    def scorers_on(self) -> list[bool]:
        """Which scorers take part, in the order of the weights."""
        is_on = self.get_buffer("weights") > 0 if self.method is FusionMethod.WEIGHTED else self.get_buffer("is_on")
        return [bool(each) for each in is_on]

    @torch.no_grad()
    def start_from(self, weights: Float[Tensor, "S"]) -> None:
        """Begins with these weights; scorers that are off stay so, and fixed weights as they are."""
        if self.method is not FusionMethod.WEIGHTED:
            self.log_weights.copy_(weights.clamp_min(torch.finfo(weights.dtype).tiny).log())

    def weigh(
        self, sequence: Float[Tensor, "*batch D"], retriever: Float[Tensor, "*batch F"]
    ) -> Float[Tensor, "*batch S"]:
        """Weights before the temperatures: SASRec, the retriever, then co-occurrence and content if they are there."""
        if self.method is FusionMethod.WEIGHTED:
            weights = self.get_buffer("weights")
            return weights.expand(*sequence.shape[:-1], len(weights))
        is_on = self.get_buffer("is_on")
        weights = self.log_weights.exp() * is_on
        if self.method is FusionMethod.LEARNED:
            return weights.expand(*sequence.shape[:-1], len(weights))
        gate = self.gate(torch.cat([sequence, retriever], dim=-1)).float()
        gate = gate.masked_fill(~is_on, torch.finfo(gate.dtype).min)
        return is_on.sum() * torch.softmax(gate, dim=-1) * weights

    def forward(
        self,
        sequence: Float[Tensor, "*batch D"],
        retriever: Float[Tensor, "*batch F"],
        weights: Float[Tensor, "*batch S"],
        content: Float[Tensor, "*batch K"] | None = None,
    ) -> Float[Tensor, "*batch V"]:
        """User side of the fused score of the encoders, to be multiplied with the item sides set side by side."""
        sides = [
            weights[..., :1] * self.calibrate_sasrec(sequence),
            weights[..., 1:2] * self.calibrate_retriever(retriever),
        ]
        if content is not None:
            sides.append(weights[..., self.content_place, None] * self.calibrate_content(content))
        if self.raises_new_items:
            sides.append(torch.ones_like(weights[..., :1]))  # meets the items' offset
        return torch.cat(sides, dim=-1)

    def new_item_offsets(self, is_trained: Bool[Tensor, "C"]) -> Float[Tensor, "C 1"]:
        """What is added to the scores of items that training does not know; zeros for the others."""
        return (~is_trained)[:, None] * self.get_buffer("new_item_offset")

    def calibrate_cooccurrence(self, weights: Float[Tensor, "*batch S"]) -> Float[Tensor, "*batch"]:
        """Factor of the co-occurrence logits at each position."""
        return weights[..., 2] * (-self.get_buffer("cooccurrence_log_temperature")).exp()

    def calibrate_content(self, content: Float[Tensor, "*batch K"]) -> Float[Tensor, "*batch K"]:
        """User side of the content scorer's calibrated score."""
        return content * (-self.get_buffer("content_log_temperature")).exp()

    def calibrate_sasrec(self, sequence: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """User side of SASRec's own calibrated score."""
        return sequence * (-self.sasrec_log_temperature).exp()

    def calibrate_retriever(self, retriever: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch F"]:
        """User side of the retriever's own calibrated score."""
        return retriever * (-self.retriever_log_temperature).exp()
