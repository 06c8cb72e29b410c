"""Ranks of targets among the whole catalogue, or among candidates.

A target that ties can take several places, each as likely: its ranks are the first and the last of them.

B users in a batch, N items (N1 = N + 1 columns, column 0 is padding), T targets, C candidates (C1 = C + 1 columns).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from ur4rec.columns import ITEM, USER
from ur4rec.data.sequences import Histories

Scorer = Callable[[np.ndarray], Tensor]
"""User indices `[B]` → scores `[B, N + 1]`; column 0 is ignored."""


class ScoreError(ValueError):
    """Scores that cannot be ranked."""


def tied_ranks(
    scores: Float[Tensor, "B N1"], targets: Int[Tensor, "B"], excluded: Bool[Tensor, "B N1"]
) -> Int64[Tensor, "B 2"]:
    """First and last rank that each target can have: `1 + #higher` and `1 + #higher + #equal others`.

    Column 0 and the excluded items do not compete; a target that is itself excluded is ranked all the same.

    Raises:
        ScoreError: A score is NaN or a target lies outside `1..N`; names the row.

    >>> scores = torch.tensor([[9.0, 3.0, 2.0, 2.0, 1.0]])
    >>> seen = torch.tensor([[False, False, False, False, False]])
    >>> tied_ranks(scores, torch.tensor([2]), seen).tolist()
    [[2, 3]]
    >>> tied_ranks(scores, torch.tensor([4]), torch.tensor([[False, True, False, False, False]])).tolist()
    [[3, 3]]
    """
    _check(scores, targets, np.arange(len(scores)), "row")
    others = ~excluded
    others[:, 0] = False
    others.scatter_(1, targets[:, None], False)
    target_scores = scores.gather(1, targets[:, None])
    higher = (others & (scores > target_scores)).sum(1)
    equal = (others & (scores == target_scores)).sum(1)
    return 1 + torch.stack([higher, higher + equal], dim=1)


def rank_users(
    scorer: Scorer,
    targets: np.ndarray,
    seen: Histories,
    batch_size: int,
    candidates: Int64[np.ndarray, "T C1"] | None = None,
) -> Int64[np.ndarray, "T 2"]:
    """Ranks of every target in the whole catalogue without the items its user has seen, or among its candidates.

    Memory is bounded by `batch_size` × N, whatever the number of users.

    Args:
        scorer: Called with up to `batch_size` user indices at a time, in the order of `targets`.
        targets: Rows `user, item, timestamp_s`, int64 `[T, 3]`.
        seen: What each user has seen before the target.
        batch_size: Users scored at once.
        candidates: What competes instead of the catalogue: each target, then item indices; 0 is nothing.

    Returns:
        int64 `[T, 2]`, as `tied_ranks` gives them.

    Raises:
        ScoreError: The scorer returns NaN, another shape, or too few columns; names the user index. Or the
            candidates are those of other targets.
    """
    if candidates is not None and not np.array_equal(candidates[:, 0], targets[:, ITEM]):
        raise ScoreError("the candidates do not begin with the targets: they were drawn for other data")
    ranks = np.empty((len(targets), 2), dtype=np.int64)
    for start in range(0, len(targets), batch_size):
        rows = slice(start, start + batch_size)
        batch = np.array(targets[rows])  # a copy: the rows may be a read-only memory map
        users = batch[:, USER]
        mask = partial(_seen_mask, users, seen) if candidates is None else partial(_rest_mask, users, candidates[rows])
        ranks[rows] = _rank_batch(scorer, users, batch[:, ITEM], mask)
    return ranks


def _rank_batch(
    scorer: Scorer, users: np.ndarray, items: np.ndarray, mask: Callable[[int], Bool[Tensor, "B N1"]]
) -> Int64[np.ndarray, "B 2"]:
    with torch.no_grad():
        scores = scorer(users)
        if scores.ndim != 2 or len(scores) != len(users):
            raise ScoreError(
                f"scorer returned shape {tuple(scores.shape)} for {len(users)} users starting with user index "
                f"{users[0]}, expected [{len(users)}, N + 1]"
            )
        targets = torch.from_numpy(items).to(scores.device)
        _check(scores, targets, users, "user index")
        excluded = mask(scores.shape[1]).to(scores.device)
        return tied_ranks(scores, targets, excluded).cpu().numpy()


def _seen_mask(users: np.ndarray, seen: Histories, num_columns: int) -> Bool[Tensor, "B N1"]:
    rows, positions = seen.find_rows(users)
    columns = seen.items[positions]
    if len(columns) and columns.max() >= num_columns:
        user = users[rows[columns.argmax()]]
        raise ScoreError(
            f"scorer returned {num_columns} columns but user index {user} has seen item index {columns.max()}; "
            "expected one column for each item and one for padding"
        )
    mask = torch.zeros(len(users), num_columns, dtype=torch.bool)
    mask[torch.from_numpy(rows), torch.from_numpy(columns)] = True
    return mask


def _rest_mask(users: np.ndarray, candidates: Int64[np.ndarray, "B C1"], num_columns: int) -> Bool[Tensor, "B N1"]:
    """Everything but the candidates."""
    if candidates.max(initial=0) >= num_columns:
        row = int(candidates.max(1).argmax())
        raise ScoreError(
            f"scorer returned {num_columns} columns but a candidate of user index {users[row]} is item index "
            f"{candidates[row].max()}; expected one column for each item and one for padding"
        )
    mask = torch.ones(len(users), num_columns, dtype=torch.bool)
    return mask.scatter_(1, torch.from_numpy(candidates), False)


def _check(scores: Tensor, targets: Tensor, names: np.ndarray, kind: str) -> None:
    outside = ((targets < 1) | (targets >= scores.shape[1])).nonzero()
    if len(outside):
        row = int(outside[0])
        raise ScoreError(
            f"{kind} {names[row]}: target item index {int(targets[row])}, "
            f"expected 1 to {scores.shape[1] - 1} (the scored items)"
        )
    undefined = scores[:, 1:].isnan().any(1).nonzero()
    if len(undefined):
        row = int(undefined[0])
        column = int(scores[row, 1:].isnan().nonzero()[0]) + 1
        raise ScoreError(f"{kind} {names[row]}: the score of item index {column} is NaN, expected a number")
