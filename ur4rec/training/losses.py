"""Cross-entropy over the catalogue in flat memory.

Dimensions: P positions, V width of the score's vectors, N items, C negatives.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

CHUNK_ELEMENTS = 1 << 20
"""Logits held at once: 4 MiB, so that a chunk stays in the cache between its three passes."""


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Computes loss and gradients of one chunk of positions while its logits are in the cache."""

    @staticmethod
    def forward(ctx: Any, users: Tensor, items: Tensor, targets: Tensor) -> Tensor:
        chunk = max(1, CHUNK_ELEMENTS // len(items))
        user_gradient, item_gradient = torch.empty_like(users), torch.zeros_like(items)
        loss = users.new_zeros(())
        for start in range(0, len(users), chunk):
            part, target = users[start : start + chunk], targets[start : start + chunk, None]
            logits = part @ items.T
            log_sum = logits.logsumexp(dim=1, keepdim=True)
            loss += (log_sum - logits.gather(1, target)).sum()
            share = logits.sub_(log_sum).exp_()
            share.scatter_add_(1, target, share.new_full(target.shape, -1.0))
            torch.mm(share, items, out=user_gradient[start : start + chunk])
            item_gradient.addmm_(share.T, part)
        ctx.save_for_backward(user_gradient, item_gradient)
        ctx.count = len(users)
        return loss / len(users)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, None]:
        user_gradient, item_gradient = ctx.saved_tensors
        scale = outputs[0] / ctx.count
        return user_gradient * scale, item_gradient * scale, None


def catalogue_cross_entropy(
    users: Float[Tensor, "P V"], items: Float[Tensor, "N1 V"], targets: Int[Tensor, "P"]
) -> Float[Tensor, ""]:
    """Mean of −log softmax over all items at every position; memory does not grow with P × N.

    Args:
        users: User side of every position.
        items: Item side, row 0 for padding, which is left out.
        targets: Item index, from 1.
    """
    loss: Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        users.float(), items[1:].float(), targets - 1
    )
    return loss


def sampled_cross_entropy(
    users: Float[Tensor, "P V"],
    items: Float[Tensor, "N1 V"],
    targets: Int[Tensor, "P"],
    negatives: Int[Tensor, "C"],
) -> Float[Tensor, ""]:
    """Softmax over the target and shared uniform negatives, corrected to estimate the whole catalogue's.

    Each negative stands for `N / C` items (Jean et al. 2015, "On Using Very Large Target Vocabulary"); a negative
    that is the target is left out.
    """
    positive = (users * items[targets]).sum(dim=1, keepdim=True)
    correction = torch.tensor((len(items) - 1) / len(negatives)).log()
    others = (users @ items[negatives].T + correction).masked_fill(negatives[None] == targets[:, None], float("-inf"))
    logits = torch.cat([positive, others], dim=1)
    return functional.cross_entropy(logits, torch.zeros_like(targets))
