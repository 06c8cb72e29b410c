"""Fusion: a weighted sum of calibrated logits.

Each module is a dual encoder, so the fused score is one too: the user sides are scaled and set side by side, and so are
the item sides.

Dimensions: B users, L positions, D width of SASRec, F width of the retriever, N items.
"""

from __future__ import annotations

from enum import StrEnum

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from ur4rec.config_section import ConfigSection


class FusionMethod(StrEnum):
    """How the weights of the two scores are chosen."""

    WEIGHTED = "weighted"
    LEARNED = "learned"
    ADAPTIVE = "adaptive"


class FusionConfig(ConfigSection):
    """How the two scores are joined."""

    fusion_method: FusionMethod = FusionMethod.ADAPTIVE
    sasrec_weight: float = Field(0.5, ge=0)
    """Read by `weighted`; where the others start."""
    retriever_weight: float = Field(0.5, ge=0)


class Fusion(nn.Module):
    """Weights of the two modules' logits at every position.

    Args:
        sasrec_dim: Width D.
        retriever_dim: Width F.
        config: Method and weights.
    """

    def __init__(self, sasrec_dim: int, retriever_dim: int, config: FusionConfig) -> None:
        super().__init__()
        self.method = config.fusion_method
        self.sasrec_log_temperature = nn.Parameter(torch.zeros(()))
        self.retriever_log_temperature = nn.Parameter(torch.zeros(()))
        start = torch.tensor([config.sasrec_weight, config.retriever_weight])
        if self.method is FusionMethod.WEIGHTED:
            self.register_buffer("weights", start)
        else:
            self.log_weights = nn.Parameter(start.clamp_min(1e-3).log())
        if self.method is FusionMethod.ADAPTIVE:
            self.gate = nn.Linear(sasrec_dim + retriever_dim, 1)
            nn.init.zeros_(self.gate.weight)
            nn.init.zeros_(self.gate.bias)

    def weigh(
        self, sequence: Float[Tensor, "*batch D"], retriever: Float[Tensor, "*batch F"]
    ) -> Float[Tensor, "*batch 2"]:
        """Weight of SASRec and of the retriever before their temperatures."""
        if self.method is FusionMethod.WEIGHTED:
            return self.get_buffer("weights").expand(*sequence.shape[:-1], 2)
        weights = self.log_weights.exp()
        if self.method is FusionMethod.LEARNED:
            return weights.expand(*sequence.shape[:-1], 2)
        share = torch.sigmoid(self.gate(torch.cat([sequence, retriever], dim=-1)))
        return 2 * torch.cat([share, 1 - share], dim=-1) * weights

    def forward(
        self, sequence: Float[Tensor, "*batch D"], retriever: Float[Tensor, "*batch F"]
    ) -> Float[Tensor, "*batch DF"]:
        """User side of the fused score, to be multiplied with the item sides set side by side."""
        weights = self.weigh(sequence, retriever)
        return torch.cat(
            [
                weights[..., :1] * self.calibrate_sasrec(sequence),
                weights[..., 1:] * self.calibrate_retriever(retriever),
            ],
            dim=-1,
        )

    def calibrate_sasrec(self, sequence: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """User side of SASRec's own calibrated score."""
        return sequence * (-self.sasrec_log_temperature).exp()

    def calibrate_retriever(self, retriever: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch F"]:
        """User side of the retriever's own calibrated score."""
        return retriever * (-self.retriever_log_temperature).exp()
