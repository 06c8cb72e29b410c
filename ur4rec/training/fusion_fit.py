"""Weights that the fusion begins with: those by which a sum of the scorers ranks held-out targets best.

They are found on the validation targets, as everything is that is chosen, on the items that one of the scorers ranks
high. The likelihood of a multinomial logit gives other weights, that rank worse: it is made of the targets that no
scorer finds. It decides the common scale alone.

Dimensions: B users, N items, S scorers, T held-out targets, C candidates of each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ur4rec.columns import ITEM, USER
from ur4rec.data.sequences import Histories
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.ranking.metrics import metrics_from_ranks
from ur4rec.ranking.ranks import seen_mask
from ur4rec.training.scoring import ModelScorer

MOST_TARGETS = 8192
USERS_AT_ONCE = 256
CANDIDATES = 100
"""Best items of each scorer that compete in the fit."""
STEPS = (1.0, 1.0, 0.5, 0.25)
"""Powers of two by which a weight is changed, round by round."""
FIRST_POWERS = tuple(range(-5, 4))
OFF = -10.0
"""Power of two of a scorer that only does harm: its weight can still grow in training."""
FLAT = 1e-6
"""Standard deviation of a scorer that says nothing about the targets: it begins as one that is off."""
SCALE_STEPS = 20
PLACES = 10
"""Length of the lists in which new items get their share."""
LARGEST_OFFSET = 100.0
"""Logits that decide every list."""
LOWEST = -1e9
"""Score of what takes no part."""


def fit_fusion(model: UR4RecV2MoE, histories: Histories, targets: Int[np.ndarray, "T 3"]) -> None:
    """Sets the weights that the fusion of a model begins with; fixed weights, and those of scorers off, stay.

    Args:
        model: In evaluation mode; its memories become those of `histories`.
        histories: What each user did before the target.
        targets: Rows `user, item, timestamp_s`.
    """
    scores = _score(model, histories, _choose(targets))
    spread = scores.std(dim=(0, 2))
    says_something = spread > FLAT
    spread = torch.where(says_something, spread, 1.0)
    is_on = [on and bool(told) for on, told in zip(model.fusion.scorers_on, says_something, strict=True)]
    powers = _ascend(scores / spread[:, None], is_on)
    weights = 2.0**powers / spread
    model.fusion.start_from(weights * _fit_scale(torch.einsum("s,tsc->tc", weights, scores)))


@torch.no_grad()
def place_new_items(model: UR4RecV2MoE, histories: Histories, targets: Int[np.ndarray, "T 3"]) -> None:
    """Sets what is added to the scores of items without training interactions, so that they get their configured share.

    The lists counted are those that the users of the targets would get; the targets themselves have no say. A list
    takes its i-th new item when that one passes the (11 − i)-th best of the others; the offset is the quantile of the
    gaps to these.

    Args:
        model: In evaluation mode; its memories become those of `histories`.
        histories: What each user did before the target.
        targets: Rows `user, item, timestamp_s`.
    """
    offset = model.fusion.get_buffer("new_item_offset").zero_()
    is_new = ~model.retriever.encoder.get_buffer("is_trained")
    is_new[0] = False
    num_new = int(is_new.sum())
    if not num_new or num_new == model.num_items:
        return
    gaps = _measure_gaps(model, histories, _choose(targets), is_new)
    wanted = round(model.config.new_item_share * num_new / model.num_items * len(gaps) * PLACES)
    gap = gaps.flatten().kthvalue(min(max(1, wanted), gaps.numel())).values
    offset.copy_(gap.clamp(-LARGEST_OFFSET, LARGEST_OFFSET))


def _measure_gaps(
    model: UR4RecV2MoE, histories: Histories, targets: Int[np.ndarray, "T 3"], is_new: Bool[Tensor, "N1"]
) -> Float[Tensor, "T K"]:
    """What the i-th best new item lacks to be in the list of each user, by i."""
    scorer, places, gaps = ModelScorer(model, histories), min(PLACES, int(is_new.sum())), []
    for start in range(0, len(targets), USERS_AT_ONCE):
        users = np.array(targets[start : start + USERS_AT_ONCE, USER])
        scores = scorer(users)
        excluded = seen_mask(users, histories if model.config.excludes_seen else None, scores)
        excluded[:, 0] = True
        scores[excluded] = LOWEST
        others = scores.masked_fill(is_new, LOWEST).topk(min(PLACES, scores.shape[1])).values
        new = scores.masked_fill(~is_new, LOWEST).topk(places).values
        gaps.append((others.flip(1)[:, :places] - new).cpu())
    return torch.cat(gaps)


def _choose(targets: Int[np.ndarray, "V 3"]) -> Int[np.ndarray, "T 3"]:
    """Targets spread evenly over all, at most so many."""
    chosen: np.ndarray = targets[np.linspace(0, len(targets) - 1, min(len(targets), MOST_TARGETS)).astype(np.int64)]
    return chosen


def _score(model: UR4RecV2MoE, histories: Histories, targets: np.ndarray) -> Float[Tensor, "T S C"]:
    """Calibrated logits of every scorer for the target, in column 0, and what the scorers rank high beside it."""
    scorer, parts = ModelScorer(model, histories), []
    for start in range(0, len(targets), USERS_AT_ONCE):
        batch = np.array(targets[start : start + USERS_AT_ONCE])
        scores = scorer.score_parts(batch[:, USER])
        target = torch.from_numpy(batch[:, ITEM]).to(scores.device)
        excluded = seen_mask(batch[:, USER], histories if model.config.excludes_seen else None, scores[:, 0])
        excluded[:, 0] = True
        excluded.scatter_(1, target[:, None], True)
        parts.append(_gather(scores, target, excluded).cpu())
    return torch.cat(parts)


def _gather(
    scores: Float[Tensor, "B S N1"], targets: Int[Tensor, "B"], excluded: Bool[Tensor, "B N1"]
) -> Float[Tensor, "B S C"]:
    masked = scores.masked_fill(excluded[:, None], float("-inf"))
    best = masked.topk(min(CANDIDATES, scores.shape[2] - 1), dim=2).indices.flatten(1)
    once = torch.zeros_like(excluded).scatter_(1, best, True) & ~excluded
    width = best.shape[1]
    places = once.to(torch.uint8).topk(min(width, once.shape[1]), dim=1).indices
    taken = torch.cat([targets[:, None], places], dim=1)
    picked = scores.gather(2, taken[:, None].expand(-1, scores.shape[1], -1))
    is_real = torch.cat([torch.ones_like(targets[:, None], dtype=torch.bool), once.gather(1, places)], dim=1)
    # What is not real never competes, whatever the weights: it has every scorer's lowest score.
    lowest = picked.amin(dim=2, keepdim=True)
    return torch.where(is_real[:, None], picked, lowest)


def _ascend(scores: Float[Tensor, "T S C"], is_on: Sequence[bool]) -> Float[Tensor, "S"]:
    """Climbs one weight at a time, as powers of two, the first scorer's at 0."""
    powers = [0.0] + [OFF] * (len(is_on) - 1)
    best = _mean_gain(scores, powers)
    for number, step in enumerate(STEPS):
        for place in [place for place in range(1, len(powers)) if is_on[place]]:
            at = powers[place]
            tried = (
                FIRST_POWERS if number == 0 or at == OFF else (at - 2 * step, at - step, at + step, at + 2 * step, OFF)
            )
            for power in tried:
                changed = [*powers[:place], float(power), *powers[place + 1 :]]
                if (gain := _mean_gain(scores, changed)) > best:
                    best, powers = gain, changed
    return torch.tensor(powers)


def _mean_gain(scores: Float[Tensor, "T S C"], powers: Sequence[float]) -> float:
    """NDCG@10 of the targets in column 0."""
    fused = torch.einsum("s,tsc->tc", 2.0 ** torch.tensor(powers), scores)
    target, others = fused[:, :1], fused[:, 1:]
    higher, equal = (others > target).sum(dim=1), (others == target).sum(dim=1)
    return metrics_from_ranks(1 + torch.stack([higher, higher + equal], dim=1).numpy())["ndcg@10"]


def _fit_scale(fused: Float[Tensor, "T C"]) -> Float[Tensor, ""]:
    """Factor that makes the sum's softmax likeliest, by Newton's method; the loss is convex in it."""
    fused = fused.double() - fused.double().amax(dim=1, keepdim=True)
    scale = torch.ones((), dtype=torch.float64)
    for _ in range(SCALE_STEPS):
        share = (fused * scale).softmax(dim=1)
        mean = (share * fused).sum(dim=1)
        slope, curvature = (mean - fused[:, 0]).sum(), ((share * fused.square()).sum(dim=1) - mean.square()).sum()
        scale = (scale - slope / curvature.clamp_min(1e-9)).clamp(scale / 4, scale * 4)
    return scale.float()
