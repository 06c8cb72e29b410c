"""Temperature of the co-occurrence scorer: the one under which its softmax predicts the training positions best.

Dimensions: B windows in a batch, L positions, N items.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ur4rec.models.cooccurrence import CooccurrenceScorer, NeighborTables, to_logits
from ur4rec.training.cooccurrence import user_folds
from ur4rec.training.windows import Epoch

ITERATIONS = 6
BATCH_SIZE = 256
MAX_WINDOWS = 2048
"""Newest windows of this many users are enough for one number."""


@torch.no_grad()
def fit_log_temperature(scorer: CooccurrenceScorer, tables: NeighborTables, epoch: Epoch) -> Tensor:
    """Newton's method on the mean cross-entropy, which is convex in the inverse temperature.

    Args:
        scorer: Whose logits.
        tables: One for each fold of users.
        epoch: Windows to predict.

    Returns:
        Logarithm of the temperature, a scalar.
    """
    inverse = torch.ones((), dtype=torch.float64, device=epoch.users.device)
    for _ in range(ITERATIONS):
        slope, curvature = torch.zeros(2, dtype=torch.float64, device=inverse.device)
        for rows in torch.arange(min(len(epoch.users), MAX_WINDOWS), device=inverse.device).split(BATCH_SIZE):  # type: ignore[no-untyped-call]
            window, targets = epoch.window(rows)
            scan = scorer.scan(window.items, tables, user_folds(window.user_ids))
            for raw, target in zip(scan, targets.T, strict=True):
                logits, valid = to_logits(raw)[:, 1:][target > 0], target[target > 0] - 1
                share = (logits * inverse.float()).softmax(dim=1)
                mean = (share * logits).sum(dim=1)
                slope += (mean - logits.gather(1, valid[:, None])[:, 0]).double().sum()
                curvature += ((share * logits.square()).sum(dim=1) - mean.square()).double().sum()
        inverse = (inverse - slope / curvature.clamp_min(1e-9)).clamp(0.05, 20.0)
    return -inverse.log()
