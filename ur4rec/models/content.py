"""Closed-form scorer: how near the text of an item is to the texts of the history.

Both sides are unit vectors of the whitened text table; the user's is the mean over the history, each item weighted
`age_decay^age`, the newest of age 0. The score is their cosine, and a dual encoder's like the others.

Dimensions: B users, L positions, Q queries (one a position, or the last alone), K components of the texts.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ur4rec.models.sasrec import at_position


def content_items(texts: Float[Tensor, "C K"]) -> Float[Tensor, "C K"]:
    """Returns the item side of the score; an item without a text has zeros."""
    return functional.normalize(texts, dim=1)


def content_users(
    items: Int[Tensor, "B L"],
    sides: Float[Tensor, "C K"],
    age_decay: float,
    last: Int[Tensor, "B"] | None = None,
) -> Float[Tensor, "B Q K"]:
    """Returns the user side after every position, or after one; it reads that position and earlier ones only.

    Args:
        items: Rows of `sides`, oldest first, padded with 0 after the sequence.
        sides: What `content_items` returned; row 0 holds zeros.
        age_decay: Weight of an item relative to the next newer one.
        last: The only position of each row that is wanted.
    """
    positions = torch.arange(items.shape[1], device=items.device)
    ages = positions[:, None] - positions
    weights = torch.where(ages >= 0, age_decay ** ages.clamp_min(0).to(sides.dtype), 0.0).expand(len(items), -1, -1)
    if last is not None:
        weights = at_position(weights, last)
    return functional.normalize(weights @ functional.embedding(items, sides), dim=2)
