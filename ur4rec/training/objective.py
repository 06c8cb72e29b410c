"""The loss of a stage: cross-entropy over the catalogue, and what is added to it.

Dimensions: B windows in a batch, L positions, N items, X experts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ur4rec.models.config import Part
from ur4rec.models.cooccurrence import NeighborTables, to_logits
from ur4rec.models.retriever_moe_memory import Window
from ur4rec.models.ur4rec_v2_moe import Encoded, Items, UR4RecV2MoE
from ur4rec.models.user_memory import MemoryState
from ur4rec.training.config import ObjectiveConfig
from ur4rec.training.cooccurrence import user_folds
from ur4rec.training.losses import (
    catalogue_cross_entropy,
    load_balance,
    sampled_cross_entropy,
    scored_cross_entropy,
)
from ur4rec.training.ranks import ALONE, Total


class Objective:
    """Mean loss of the targets of some windows.

    The softmax runs over the items that training knows: the others could only ever be negatives, and would be pushed
    away from everybody.

    Args:
        model: Whose loss.
        part: Whose score is trained.
        tables: Of co-occurrence, one for each fold of users; None without that scorer.
        config: What is minimised.
        generator: Draws the negatives.
        total: Adds up what the processes that share a batch count.
    """

    def __init__(
        self,
        model: UR4RecV2MoE,
        part: Part,
        tables: NeighborTables | None,
        config: ObjectiveConfig,
        generator: np.random.Generator,
        total: Total = ALONE.total,
    ) -> None:
        self.model, self.part, self.tables, self.config, self.generator = model, part, tables, config, generator
        self.total = total
        known = model.retriever.encoder.get_buffer("is_trained").clone()
        known[0] = False
        self.known, self.left_out = known.nonzero().squeeze(1), (~known).nonzero().squeeze(1)

    def __call__(self, window: Window, targets: Int[Tensor, "B L"], state: MemoryState | None) -> Float[Tensor, ""]:
        """Loss of some windows; a target is the item after each input, 0 where there is none."""
        if self.config.num_negatives:
            return self._sampled(window, targets, state)
        items = self.model.items(self.part, drop_ids=True)
        encoded = self.model.encode(window, state, self.part, items)
        users, valid = self.model.user_vectors(encoded, self.part), targets > 0
        loss = partial(catalogue_cross_entropy, targets=targets[valid], left_out=self.left_out)
        extra = self._extra(encoded, items, valid, loss)
        if self.tables is None:
            return extra + loss(users[valid], items.vectors())
        raw_scores, factors = self._cooccurrence(window, None), self._factors(encoded)
        return extra + scored_cross_entropy(users, items.vectors(), factors, targets, self.left_out, raw_scores)

    def _sampled(self, window: Window, targets: Int[Tensor, "B L"], state: MemoryState | None) -> Tensor:
        """The catalogue of a step is what the step names: inputs, targets and negatives."""
        device, size = self.model.device, len(self.known)
        drawn = self.known[torch.from_numpy(self.generator.integers(0, size, self.config.num_negatives)).to(device)]
        named = torch.cat([drawn.new_zeros(1), window.items.flatten(), targets.flatten(), drawn])
        rows, local = torch.unique(named, return_inverse=True)
        item_rows, target_rows, negatives = local[1:].split([window.items.numel(), targets.numel(), len(drawn)])
        items = self.model.items(self.part, rows, drop_ids=True)
        encoded = self.model.encode(replace(window, items=item_rows.view_as(targets)), state, self.part, items)
        users, valid = self.model.user_vectors(encoded, self.part), targets > 0
        positives, given = target_rows.view_as(targets)[valid], None
        loss = partial(sampled_cross_entropy, targets=positives, negatives=negatives, num_items=size)
        extra = self._extra(encoded, items, valid, loss)
        if self.tables is not None:
            columns = drawn.new_zeros(self.model.num_items + 1).scatter_(
                0, rows, torch.arange(len(rows), device=device)
            )
            logits = torch.stack([to_logits(raw) for raw in self._cooccurrence(window, columns)], dim=1)
            given = logits[valid] * self._factors(encoded)[valid][:, None]
        return extra + loss(users[valid], items.vectors(), given=given)

    def _extra(
        self, encoded: Encoded, items: Items, valid: Bool[Tensor, "B L"], loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Returns what the retriever adds: balanced experts, and its own `loss` where every item is its text alone."""
        extra = torch.zeros((), device=self.model.device)
        if encoded.expert_weights is not None and self.config.load_balance_weight:
            extra = self.config.load_balance_weight * load_balance(encoded.expert_weights, valid, self.total)
        if self.config.alignment_weight and items.retriever is not None and items.retriever.description is not None:
            wanted = self.model.user_vectors(encoded, Part.RETRIEVER)[valid]
            extra = extra + self.config.alignment_weight * loss(wanted, items.retriever.description)
        return extra

    def _cooccurrence(self, window: Window, columns: Int[Tensor, "N1"] | None) -> Iterator[Tensor]:
        assert self.model.cooccurrence is not None
        return self.model.cooccurrence.scan(window.items, self.tables, user_folds(window.user_ids), columns)

    def _factors(self, encoded: Encoded) -> Float[Tensor, "B L"]:
        assert encoded.fusion_weights is not None
        return self.model.fusion.calibrate_cooccurrence(encoded.fusion_weights)
