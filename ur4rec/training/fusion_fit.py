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
SCALE_STEPS = 20


def fit_fusion(model: UR4RecV2MoE, histories: Histories, targets: Int[np.ndarray, "T 3"]) -> None:
    """Sets the weights that the fusion of a model begins with; fixed weights, and those of scorers off, stay.

    Args:
        model: In evaluation mode; its memories become those of `histories`.
        histories: What each user did before the target.
        targets: Rows `user, item, timestamp_s`.
    """
    chosen = targets[np.linspace(0, len(targets) - 1, min(len(targets), MOST_TARGETS)).astype(np.int64)]
    scores = _score(model, histories, chosen)
    spread = scores.std(dim=(0, 2)).clamp_min(1e-6)
    powers = _ascend(scores / spread[:, None], model.fusion.scorers_on)
    weights = 2.0**powers / spread
    model.fusion.start_from(weights * _fit_scale(torch.einsum("s,tsc->tc", weights, scores)))


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
