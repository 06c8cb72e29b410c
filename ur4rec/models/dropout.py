"""Dropout whose masks cost little on a CPU, and are those of the whole batch where several processes share it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

LEVELS = 256
"""A byte of randomness decides about a value."""


@dataclass(frozen=True)
class BatchShare:
    """The rows of a batch that this process has: every `step`-th from `start` on."""

    start: int
    step: int
    num_rows: int
    """Of the whole batch."""

    def of(self, rows: Shaped[Tensor, "B *shape"]) -> Shaped[Tensor, "b *shape"]:
        """Returns this process's rows of all."""
        return rows[self.start :: self.step]


class Dropout(nn.Dropout):
    """Drops a share of the values in training and scales up the others, so that their expectation stays.

    Torch draws a number for each value, which took a sixth of a training step; here eight values share one. The share
    is the nearest multiple of 1/256 that is neither nothing nor everything.
    """

    share: BatchShare | None = None
    """Which rows of a batch the values begin with. The masks of all its rows are drawn, so that a row has the same one
    whichever process computes it. None: all of them."""

    def forward(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Returns the values as they are outside of training."""
        if not self.training or not self.p or (values.device.type != "cpu" and self.share is None):
            return super().forward(values)
        dropped = min(max(round(self.p * LEVELS), 1), LEVELS - 1)
        levels = _draw(values.shape, values.device) if self.share is None else self._draw_share(values)
        kept = torch.ge(levels, dropped, out=torch.empty_like(values, requires_grad=False))
        return values * kept.mul_(LEVELS / (LEVELS - dropped))

    def _draw_share(self, values: Float[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        assert self.share is not None
        count = len(range(self.share.start, self.share.num_rows, self.share.step))
        levels = _draw((self.share.num_rows, values.numel() // count), values.device)
        return self.share.of(levels).reshape(values.shape)


def _draw(shape: tuple[int, ...], device: torch.device) -> Shaped[Tensor, "*shape"]:
    """Returns random bytes."""
    count = torch.Size(shape).numel()
    draws = torch.empty(-(-count // 8), dtype=torch.int64, device=device).random_(-(2**63), None)
    return draws.view(torch.uint8)[:count].view(shape)
