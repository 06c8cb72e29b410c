"""Ranks of targets among the whole catalogue, or among candidates.

A target that ties can take several places, each as likely: its ranks are the first and the last of them.

B users in a batch, N items (N1 = N + 1 columns, column 0 is padding), T targets, C candidates (C1 = C + 1 columns).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from ur4rec.columns import ITEM, USER
from ur4rec.data.sequences import Histories
from ur4rec.ranking.lists import ListMetric, show_lists

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
    seen: Histories | None,
    batch_size: int,
    candidates: Int64[np.ndarray, "T C1"] | None = None,
    lists: Sequence[ListMetric] = (),
) -> Int64[np.ndarray, "T 2"]:
    """Rank every target in the whole catalogue, without the items its user has seen, or among its candidates.

    Memory is bounded by `batch_size` × N, whatever the number of users.

    Args:
        scorer: Called with up to `batch_size` user indices at a time, in the order of `targets`.
        targets: Rows `user, item, timestamp_s`, int64 `[T, 3]`.
        seen: What each user has seen before the target; None: it competes, and may be in the lists.
        batch_size: Users scored at once.
        candidates: What competes instead of the catalogue: each target, then item indices; 0 is nothing.
        lists: Metrics that are shown the best items of the catalogue for every user, on the way.

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
        with torch.no_grad():
            scores = _score(scorer, users, batch[:, ITEM])
            is_seen = partial(seen_mask, users, seen, scores)
            excluded = is_seen() if candidates is None else _rest_mask(users, candidates[rows], scores)
            ranks[rows] = tied_ranks(scores, torch.from_numpy(batch[:, ITEM]).to(scores.device), excluded).cpu().numpy()
            if lists:
                show_lists(lists, scores, excluded if candidates is None else is_seen())
    return ranks


def _score(scorer: Scorer, users: np.ndarray, targets: np.ndarray) -> Float[Tensor, "B N1"]:
    """Ask for scores, and refuse what cannot be ranked by naming the user."""
    scores = scorer(users)
    if scores.ndim != 2 or len(scores) != len(users):
        raise ScoreError(
            f"scorer returned shape {tuple(scores.shape)} for {len(users)} users starting with user index "
            f"{users[0]}, expected [{len(users)}, N + 1]"
        )
    _check(scores, torch.from_numpy(targets).to(scores.device), users, "user index")
    return scores


def seen_mask(users: np.ndarray, seen: Histories | None, scores: Float[Tensor, "B N1"]) -> Bool[Tensor, "B N1"]:
    """Mark the items that each user has seen; none without histories."""
    mask = torch.zeros_like(scores, dtype=torch.bool)
    if seen is None:
        return mask
    rows, positions = seen.find_rows(users)
    columns = seen.items[positions]
    _check_columns(scores, columns, users[rows], "user index {} has seen item index {}")
    mask[torch.from_numpy(rows), torch.from_numpy(columns)] = True
    return mask


def _rest_mask(
    users: np.ndarray, candidates: Int64[np.ndarray, "B C1"], scores: Float[Tensor, "B N1"]
) -> Bool[Tensor, "B N1"]:
    """Mark everything but the candidates."""
    owners = np.repeat(users, candidates.shape[1])
    _check_columns(scores, candidates.ravel(), owners, "a candidate of user index {} is item index {}")
    mask = torch.ones_like(scores, dtype=torch.bool)
    return mask.scatter_(1, torch.from_numpy(candidates).to(scores.device), False)


def _check_columns(scores: Tensor, items: np.ndarray, users: np.ndarray, fact: str) -> None:
    if items.max(initial=0) >= scores.shape[1]:
        place = items.argmax()
        raise ScoreError(
            f"scorer returned {scores.shape[1]} columns but {fact.format(users[place], items[place])}; "
            "expected one column for each item and one for padding"
        )


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
