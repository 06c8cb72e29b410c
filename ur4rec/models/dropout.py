"""Dropout whose masks cost little on a CPU."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

LEVELS = 256
"""A byte of randomness decides about a value."""


class Dropout(nn.Dropout):
    """Drops a share of the values in training and scales up the others, so that their expectation stays.

    Torch draws a number for each value, which took a sixth of a training step; here eight values share one. The share
    is the nearest multiple of 1/256 that is neither nothing nor everything.
    """

    def forward(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Returns the values as they are outside of training."""
        if not self.training or not self.p or values.device.type != "cpu":
            return super().forward(values)
        dropped = min(max(round(self.p * LEVELS), 1), LEVELS - 1)
        draws = torch.empty(-(-values.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        levels = draws.view(torch.uint8)[: values.numel()].view(values.shape)
        kept = torch.ge(levels, dropped, out=torch.empty_like(values, requires_grad=False))
        return values * kept.mul_(LEVELS / (LEVELS - dropped))
