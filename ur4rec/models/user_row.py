"""One user's share of the memory, as the original code names it.

Dimensions: E memory width, K slots in use.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ur4rec.models.user_memory import UserMemory


@dataclass(frozen=True)
class UserRow:
    """A view of the memory's tensors: it keeps nothing itself, and what it shows changes with them.

    Args:
        memory: The memory of all users.
        user_id: One of 1..U.

    Raises:
        ValueError: There is no such user.
    """

    memory: UserMemory
    user_id: int

    def __post_init__(self) -> None:
        """Refuses who has no row."""
        num_users = len(self.memory.absorbed) - 1
        if not 1 <= self.user_id <= num_users:
            raise ValueError(f"user_id {self.user_id}: expected 1 to {num_users}; others have no stored memory")

    @property
    def memory_vector(self) -> Float[Tensor, "E"]:
        """The current state; zeros before the first update."""
        return self.memory.history[self.user_id, 0]

    @property
    def memory_history(self) -> Float[Tensor, "K E"]:
        """The states in use, the newest first."""
        return self.memory.history[self.user_id, : int(self.memory.memory_size[self.user_id])]

    @property
    def interaction_count(self) -> int:
        """Interactions read since the last update."""
        return int(self.memory.get_buffer("interaction_count")[self.user_id])
