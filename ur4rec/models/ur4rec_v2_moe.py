"""UR4RecV2MoE: SASRec and the mixture-of-experts retriever with memory, fused.

Dimensions: B users, L positions, C candidates, D width of SASRec, F width of the retriever, N items.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from ur4rec.models.fusion import Fusion, FusionConfig
from ur4rec.models.retriever_moe_memory import RetrieverMoEMemory
from ur4rec.models.sasrec import SASRec, SASRecConfig, align_left
from ur4rec.models.text_preference_retriever_moe import RetrieverConfig
from ur4rec.models.user_memory import STATE_FIELDS, MemoryConfig, MemoryState


class Part(StrEnum):
    """Whose score."""

    SASREC = "sasrec"
    RETRIEVER = "retriever"
    FUSED = "fused"


class ModelConfig(SASRecConfig, RetrieverConfig, MemoryConfig, FusionConfig):
    """Everything that shapes the model."""

    text_dim: int = Field(384, ge=1)
    """Width of the text embeddings."""


@dataclass(frozen=True)
class Window:
    """Interactions of B users, oldest first, padded with 0 after the sequence."""

    user_ids: Int[Tensor, "B"]
    items: Int[Tensor, "B L"]
    timestamps: Int[Tensor, "B L"]
    starts: Int[Tensor, "B"]
    """Index in the user's whole history of the first item."""


@dataclass(frozen=True)
class Encoded:
    """User sides of every position; a part that was not asked for is None."""

    sasrec: Float[Tensor, "B L D"] | None
    retriever: Float[Tensor, "B L F"] | None
    expert_weights: Float[Tensor, "B L X"] | None
    state: MemoryState | None


class UR4RecV2MoE(nn.Module):
    """The whole recommender.

    Args:
        num_items: N; item 0 is padding.
        num_users: Users with a memory; user 0 is nobody.
        config: Shape; alternatively its fields as keywords.

    Raises:
        ConfigError: A keyword is not a field of `ModelConfig`, or its value is out of range.
    """

    def __init__(self, num_items: int, num_users: int, config: ModelConfig | None = None, **fields: Any) -> None:
        super().__init__()
        config = config or ModelConfig.parse(fields, "UR4RecV2MoE")
        self.config, self.num_items, self.num_users = config, num_items, num_users
        self.sasrec = SASRec(num_items, config.narrow(SASRecConfig))
        self.retriever = RetrieverMoEMemory(
            num_items,
            num_users,
            config.max_seq_len,
            config.text_dim,
            config.narrow(RetrieverConfig),
            config.narrow(MemoryConfig),
        )
        self.fusion = Fusion(config.sasrec_hidden_dim, config.retriever_output_dim, config.narrow(FusionConfig))

    def encode(self, window: Window, state: MemoryState | None, part: Part = Part.FUSED) -> Encoded:
        """User sides of every position of a window."""
        sasrec = None if part is Part.RETRIEVER else self.sasrec(window.items)
        if part is Part.SASREC:
            return Encoded(sasrec, None, None, state)
        output, state = self.retriever(window.items, window.timestamps, window.user_ids, window.starts, state)
        return Encoded(sasrec, output.vectors, output.expert_weights, state)

    def user_vectors(self, encoded: Encoded, part: Part = Part.FUSED) -> Float[Tensor, "B L V"]:
        """Calibrated user side of a part's score."""
        match part:
            case Part.SASREC:
                assert encoded.sasrec is not None
                return self.fusion.calibrate_sasrec(encoded.sasrec)
            case Part.RETRIEVER:
                assert encoded.retriever is not None
                return self.fusion.calibrate_retriever(encoded.retriever)
            case Part.FUSED:
                fused: Tensor = self.fusion(encoded.sasrec, encoded.retriever)
                return fused

    def item_vectors(self, part: Part = Part.FUSED) -> Float[Tensor, "N1 V"]:
        """Item side of a part's score."""
        match part:
            case Part.SASREC:
                return self.sasrec.item_vectors()
            case Part.RETRIEVER:
                return self.retriever.item_vectors()
            case Part.FUSED:
                return torch.cat([self.sasrec.item_vectors(), self.retriever.item_vectors()], dim=1)

    def forward(
        self,
        user_ids: Int[Tensor, "B"],
        input_seq: Int[Tensor, "B L"],
        target_items: Int[Tensor, "B C"] | None = None,
        update_memory: bool = False,
        timestamps: Int[Tensor, "B L"] | None = None,
        seq_end: Int[Tensor, "B"] | None = None,
    ) -> tuple[Float[Tensor, "B C"], dict[str, Tensor]]:
        """Scores of the next item.

        Args:
            user_ids: Users outside 1..U get an ephemeral memory from the sequence.
            input_seq: Item indices, oldest first, padded with 0 on either side.
            target_items: Candidates; None scores the whole catalogue (column i is item i, column 0 is padding).
            update_memory: Whether known users' memories keep what they read here.
            timestamps: Seconds, beside `input_seq`; needed by `time_based` only.
            seq_end: How many interactions the user has after the sequence; by default what the memory has read,
                so nothing is absorbed twice. What lies beyond the memory's cursor is absorbed.
        """
        times = torch.zeros_like(input_seq) if timestamps is None else timestamps
        items, times, lengths = _newest(*align_left(input_seq, times), self.config.max_seq_len)
        memory = self.retriever.memory
        state = None if memory is None else memory.stored_state(user_ids)
        known = (user_ids > 0) & (user_ids <= self.num_users)
        cursor = lengths if state is None else torch.where(state.absorbed > 0, state.absorbed, lengths)
        end = torch.where(known, cursor if seq_end is None else seq_end, lengths)
        encoded = self.encode(Window(user_ids, items, times, end - lengths), state)
        last = (lengths - 1).clamp_min(0)
        rows = torch.arange(len(items), device=items.device)
        vectors = self.user_vectors(encoded)[rows, last]
        if update_memory and memory is not None and encoded.state is not None:
            memory.store(user_ids, encoded.state)
        return self._score(vectors, target_items), self._explain(encoded, rows, last)

    def _score(self, vectors: Float[Tensor, "B V"], target_items: Int[Tensor, "B C"] | None) -> Float[Tensor, "B C"]:
        items = self.item_vectors()
        if target_items is None:
            return vectors @ items.T
        return torch.einsum("bv,bcv->bc", vectors, items[target_items])

    def _explain(self, encoded: Encoded, rows: Tensor, last: Tensor) -> dict[str, Tensor]:
        assert encoded.sasrec is not None
        assert encoded.retriever is not None
        assert encoded.expert_weights is not None
        sequence, retriever = encoded.sasrec[rows, last], encoded.retriever[rows, last]
        return {
            "expert_weights": encoded.expert_weights[rows, last],
            "fusion_weights": self.fusion.weigh(sequence, retriever),
        }

    @torch.no_grad()
    def update_memory(
        self, user_ids: Int[Tensor, "B"], representation: Float[Tensor, "B F"], force: bool = False
    ) -> None:
        """Folds a representation (a mean item vector) into the memories, where the trigger fires or `force`."""
        memory = self.retriever.memory
        if memory is not None:
            memory.store(user_ids, memory.force_update(memory.stored_state(user_ids), representation, force))

    def get_memory_stats(self) -> dict[str, float]:
        """Users, users with a memory, and their mean slots in use and interactions read."""
        memory = self.retriever.memory
        stats = {"total_users": float(self.num_users), "users_with_memory": 0.0}
        stats |= {"avg_memory_size": 0.0, "avg_interaction_count": 0.0}
        if memory is not None and bool((used := memory.memory_size > 0).any()):
            stats["users_with_memory"] = float(used.sum())
            stats["avg_memory_size"] = memory.memory_size[used].double().mean().item()
            stats["avg_interaction_count"] = memory.absorbed[used].double().mean().item()
        return stats

    def memory_tensors(self) -> dict[str, Tensor]:
        """The state of every user, a plain dictionary of tensors."""
        memory = self.retriever.memory
        return {} if memory is None else {name: getattr(memory, name) for name in STATE_FIELDS}

    def save_memories(self, path: str | Path) -> None:
        """Writes `memory_tensors` to a file."""
        torch.save(self.memory_tensors(), path)

    def load_memories(self, path: str | Path) -> None:
        """Reads what `save_memories` wrote.

        Raises:
            ValueError: The file holds other tensors than this model's memory; names the first that differs.
        """
        loaded = torch.load(path, weights_only=True, map_location=self.sasrec.item_embedding.weight.device)
        for name, tensor in self.memory_tensors().items():
            if name not in loaded or loaded[name].shape != tensor.shape:
                found = tuple(loaded[name].shape) if name in loaded else "nothing"
                raise ValueError(f"{path}: {name}: expected shape {tuple(tensor.shape)}, found {found}")
            tensor.copy_(loaded[name])


def _newest(
    items: Int[Tensor, "B L"], timestamps: Int[Tensor, "B L"], lengths: Int[Tensor, "B"], max_len: int
) -> tuple[Int[Tensor, "B K"], Int[Tensor, "B K"], Int[Tensor, "B"]]:
    """The newest `max_len` items of left-aligned rows."""
    if items.shape[1] <= max_len:
        return items, timestamps, lengths
    kept = lengths.clamp_max(max_len)
    columns = (lengths - kept)[:, None] + torch.arange(max_len, device=items.device)
    return items.gather(1, columns), timestamps.gather(1, columns), kept
