"""Cross-entropy over the catalogue in flat memory.

Dimensions: P positions, V width of the score's vectors, N items, C negatives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from ur4rec.models.cooccurrence import to_logits
from ur4rec.training.ranks import ALONE, Total

CHUNK_ELEMENTS = 1 << 19
"""Logits held at once: 2 MiB, so that a chunk stays in the cache between its passes."""


def _factor_type(device: torch.device) -> torch.dtype:
    """Number format of what is multiplied: that of autocast, where it is on. Sums and exponentials are of floats."""
    on = torch.is_autocast_enabled(device.type)
    return torch.get_autocast_dtype(device.type) if on else torch.float32


def _loss_and_gradient(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy `[]` and its gradient by the logits `[P, N]`, whose place it takes.

    The largest share of a row is exp(largest logit − log-sum), at least 1/N, and gives the log-sum without another pass
    of exponentials.
    """
    largest, wanted = logits.amax(dim=1), logits.gather(1, target).squeeze(1)
    share = torch.softmax(logits, dim=1, out=logits)
    loss = (largest - share.amax(dim=1).log() - wanted).sum()
    return loss, share.scatter_add_(1, target, share.new_full(target.shape, -1.0))


def _write_product(place: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Writes `left @ right`, whatever their number format, to a place for floats, and returns it."""
    if left.dtype == place.dtype:
        return torch.mm(left, right, out=place)
    return place.copy_(left @ right)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Adds `left @ right`, whatever their number format, to a total of floats."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Computes loss and gradients of one chunk of positions while its logits are in the cache."""

    @staticmethod
    def forward(
        ctx: Any, users: Tensor, items: Tensor, targets: Tensor, left_out: Tensor, factor_type: torch.dtype
    ) -> Tensor:
        chunk = max(1, CHUNK_ELEMENTS // len(items))
        user_gradient, item_gradient = torch.empty_like(users), torch.zeros_like(items)
        loss, place = users.new_zeros(()), users.new_empty(min(chunk, len(users)), len(items))
        users, items = users.to(factor_type), items.to(factor_type)
        for start in range(0, len(users), chunk):
            part, target = users[start : start + chunk], targets[start : start + chunk, None]
            logits = _write_product(place[: len(part)], part, items.T).index_fill_(1, left_out, float("-inf"))
            part_loss, share = _loss_and_gradient(logits, target)
            loss += part_loss
            share = share.to(factor_type)
            _write_product(user_gradient[start : start + chunk], share, items)
            _add_product(item_gradient, share.T, part)
        ctx.save_for_backward(user_gradient, item_gradient)
        ctx.count = len(users)
        return loss / len(users)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        user_gradient, item_gradient = ctx.saved_tensors
        scale = outputs[0] / ctx.count
        return user_gradient * scale, item_gradient * scale, None, None, None


def catalogue_cross_entropy(
    users: Float[Tensor, "P V"], items: Float[Tensor, "N1 V"], targets: Int[Tensor, "P"], left_out: Int[Tensor, "O"]
) -> Float[Tensor, ""]:
    """Mean of −log softmax over the catalogue at every position; memory does not grow with P × N.

    Targets are rows of `items`, from 1; `left_out` are the rows that take no part: the padding, and what training does
    not know.
    """
    factor_type = _factor_type(users.device)
    with torch.autocast(users.device.type, enabled=False):
        loss: Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
            users.float(), items.float(), targets, left_out, factor_type
        )
    return loss


class _ScoredCrossEntropy(torch.autograd.Function):
    """Like `_ChunkedCrossEntropy`, position by position, with given scores beside the product."""

    @staticmethod
    def forward(
        ctx: Any,
        users: Tensor,
        items: Tensor,
        factors: Tensor,
        targets: Tensor,
        left_out: Tensor,
        raw_scores: Iterator[Tensor],
        factor_type: torch.dtype,
    ) -> Tensor:
        user_gradient, item_gradient = torch.zeros_like(users), torch.zeros_like(items)
        factor_gradient, loss = torch.zeros_like(factors), users.new_zeros(())
        place = users.new_empty(len(users), len(items))
        users, items = users.to(factor_type), items.to(factor_type)
        for position, raw in enumerate(raw_scores):
            rows = (targets[:, position] > 0).nonzero().squeeze(1)
            part, target = users[rows, position], targets[rows, position, None]
            given = to_logits(raw[rows])
            logits = _write_product(place[: len(part)], part, items.T)
            logits.addcmul_(factors[rows, position, None], given).index_fill_(1, left_out, float("-inf"))
            part_loss, share = _loss_and_gradient(logits, target)
            loss += part_loss
            factor_gradient[rows, position] = given.mul_(share).sum(dim=1)
            share = share.to(factor_type)
            user_gradient[rows, position] = (share @ items).float()
            _add_product(item_gradient, share.T, part)
        ctx.save_for_backward(user_gradient, item_gradient, factor_gradient)
        ctx.count = int((targets > 0).sum())
        mean: Tensor = loss / ctx.count
        return mean

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None, None]:
        users, items, factors = (gradient * (outputs[0] / ctx.count) for gradient in ctx.saved_tensors)
        return users, items, factors, None, None, None, None


def scored_cross_entropy(
    users: Float[Tensor, "B L V"],
    items: Float[Tensor, "N1 V"],
    factors: Float[Tensor, "B L"],
    targets: Int[Tensor, "B L"],
    left_out: Int[Tensor, "O"],
    raw_scores: Iterator[Float[Tensor, "B N1"]],
) -> Float[Tensor, ""]:
    """Cross-entropy over the catalogue of `users · itemsᵀ + factors · logits of a closed-form scorer`.

    A target of 0 says that there is nothing to predict. The scorer's raw scores come position by position.
    """
    factor_type = _factor_type(users.device)
    with torch.autocast(users.device.type, enabled=False):
        loss: Tensor = _ScoredCrossEntropy.apply(  # type: ignore[no-untyped-call]
            users.float(), items.float(), factors.float(), targets, left_out, raw_scores, factor_type
        )
    return loss


def sampled_cross_entropy(
    users: Float[Tensor, "P V"],
    items: Float[Tensor, "R V"],
    targets: Int[Tensor, "P"],
    negatives: Int[Tensor, "C"],
    num_items: int,
    given: Float[Tensor, "P R"] | None = None,
) -> Float[Tensor, ""]:
    """Softmax over the target and shared uniform negatives, corrected to estimate the whole catalogue's.

    Each negative stands for `N / C` items (Jean et al. 2015, "On Using Very Large Target Vocabulary"); a negative
    that is the target is left out. Targets and negatives are rows of `items`; `given` is added to the product's scores.
    """
    with torch.autocast(users.device.type, enabled=False):
        users, items = users.float(), items.float()
        positive = (users * items[targets]).sum(dim=1, keepdim=True)
        others = users @ items[negatives].T
        if given is not None:
            positive, others = positive + given.gather(1, targets[:, None]), others + given[:, negatives]
        correction = math.log(num_items / len(negatives))
        others = (others + correction).masked_fill(negatives[None] == targets[:, None], float("-inf"))
        logits = torch.cat([positive, others], dim=1)
        loss: Tensor = functional.cross_entropy(logits, torch.zeros_like(targets))
    return loss


def load_balance(
    expert_weights: Float[Tensor, "B L X"], valid: Bool[Tensor, "B L"], total: Total = ALONE.total
) -> Float[Tensor, ""]:
    """Squared coefficient of variation of the experts' mean weights; 0 when all are used alike.

    Shazeer et al. 2017, "Outrageously Large Neural Networks", §4; an expert's mean is over the positions where it has
    something to read, and one that never has is left out. `total` adds up what several processes count.
    """
    weights = expert_weights[valid]
    sums, present = total(torch.stack([weights.sum(dim=0), (weights > 0).sum(dim=0, dtype=weights.dtype)]))
    mean = (sums / present.clamp_min(1))[present > 0]
    balance: Tensor = mean.var(correction=0) / mean.mean().square().clamp_min(torch.finfo(mean.dtype).tiny)
    return balance
