"""The retriever with a memory of every user.

Dimensions: B users, L positions, D width, N items.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ur4rec.models.config import MemoryConfig, RetrieverConfig, UpdateTrigger
from ur4rec.models.memory_replay import replay
from ur4rec.models.text_preference_retriever_moe import ItemSide, RetrieverOutput, TextPreferenceRetrieverMoE
from ur4rec.models.user_memory import USERS_AT_ONCE, MemoryState, Runs, UserMemory
from ur4rec.models.user_row import UserRow

ITEMS_AT_ONCE = 1 << 16
"""Items whose vectors are made together for a replay: a large catalogue is never held twice."""

__all__ = ["MemoryConfig", "RetrieverMoEMemory", "UpdateTrigger"]


@dataclass(frozen=True)
class Window:
    """Interactions of B users, oldest first, padded with 0 after the sequence."""

    user_ids: Int[Tensor, "B"]
    items: Int[Tensor, "B L"]
    timestamps: Int[Tensor, "B L"]
    starts: Int[Tensor, "B"]
    """Index in the user's whole history of the first item."""
    num_snapshots: int | None = None
    """Texts that the positions of a row may read at most, in a batch of which these are some rows; None: in these."""

    def targets(self) -> Int[Tensor, "B L"]:
        """Returns the index of the interaction that each position predicts."""
        return self.starts[:, None] + torch.arange(1, self.items.shape[1] + 1, device=self.items.device)


class RetrieverMoEMemory(nn.Module):
    """Mixture-of-experts retriever whose user side also holds what the user's memory says.

    Args:
        num_items: N; item 0 is padding.
        num_users: Users with a stored memory.
        max_seq_len: Largest number of positions.
        retriever: Shape of the retriever.
        memory: Shape and trigger of the memory.
    """

    def __init__(
        self,
        num_items: int,
        num_users: int,
        max_seq_len: int,
        retriever: RetrieverConfig,
        memory: MemoryConfig,
    ) -> None:
        super().__init__()
        memory_dim = memory.memory_dim if memory.max_memory_size else 0
        self.encoder = TextPreferenceRetrieverMoE(num_items, max_seq_len, memory_dim, retriever)
        self.memory: UserMemory | None = None
        if memory_dim:
            self.memory = UserMemory(num_users, retriever.retriever_output_dim, memory)

    def forward(
        self,
        window: Window,
        state: MemoryState | None,
        items: ItemSide,
        last: Int[Tensor, "B"] | None = None,
    ) -> tuple[RetrieverOutput, MemoryState | None]:
        """User side of every position, or of the last, and the memory after the last.

        Args:
            window: What the users did.
            state: Memory before the window; what it has already absorbed is not absorbed again.
            items: What the encoder's `item_side` returned.
            last: Position of the last item of each row, where it alone is wanted.
        """
        targets = window.targets()
        reads = None
        if self.memory is not None:
            assert state is not None
            active: Bool[Tensor, "B L"] = (window.items > 0) & (targets > state.absorbed[:, None])
            # Interactions before the window that the memory never saw are passed over, not counted as pending.
            state = replace(state, absorbed=torch.maximum(state.absorbed, window.starts))
            read = items.directions(window.items), window.timestamps, active
            if last is None:
                reads, state = self.memory.scan(state, *read)
            else:
                state = self.memory.advance(state, *read)
                reads = self.memory.read(state)[:, None]
        output = self.encoder(window.items, window.user_ids, targets, reads, items, last, window.num_snapshots)
        return output, state

    def reach(self, window: Window) -> int:
        """Returns how many texts the positions of a row of the window may read at most."""
        return self.encoder.text.reach(window.user_ids, window.targets(), window.items > 0)

    @torch.no_grad()
    def replay(self, runs: Runs, known: ItemSide | None = None) -> MemoryState | None:
        """Memory after reading interactions from an empty one on; None without a memory.

        `known` is what the encoder's `item_side` returned, where it is there already.
        """
        if self.memory is None:
            return None
        occurs = torch.zeros_like(self.encoder.get_buffer("is_trained"))
        occurs[runs.items] = True
        occurring, rows = occurs.nonzero().squeeze(1), (occurs.cumsum(0) - 1)[runs.items]
        directions = [
            self.encoder.item_side(part).directions() if known is None else known.directions(part)
            for part in torch.split(occurring, ITEMS_AT_ONCE)
        ]
        return replay(self.memory, torch.cat(directions), replace(runs, items=rows))

    @torch.no_grad()
    def update_memory(
        self, user_ids: Int[Tensor, "B"], representation: Float[Tensor, "B F"], force: bool = False
    ) -> None:
        """Folds a representation (an item vector or a mean of some) into the memories, if triggered or with `force`."""
        if self.memory is None:
            return
        parts = (torch.split(tensor, USERS_AT_ONCE) for tensor in (user_ids, representation))
        for users, given in zip(*parts, strict=True):
            given = functional.rms_norm(given, given.shape[-1:])
            self.memory.store(users, self.memory.force_update(self.memory.stored_state(users), given, force))

    @property
    def moe_retriever(self) -> RetrieverMoEMemory:
        """This very module, where the original code had one within another."""
        return self

    def get_user_memory(self, user_id: int) -> UserRow:
        """Returns a view of what the memory holds of a user.

        Raises:
            ValueError: The model has no memory, or no such user.
        """
        if self.memory is None:
            raise ValueError("the model has no memory (max_memory_size: 0)")
        return UserRow(self.memory, user_id)

    def _update_memory(self, user_memory: UserRow, current_repr: Float[Tensor, "F"], force: bool = False) -> None:
        """Does what `update_memory` does, for one user and by the names of the original code.

        Args:
            user_memory: What `get_user_memory` returned.
            current_repr: The representation.
            force: Whether to update without a trigger, too.
        """
        user = torch.tensor([user_memory.user_id], device=current_repr.device)
        self.update_memory(user, current_repr.reshape(1, -1), force)
