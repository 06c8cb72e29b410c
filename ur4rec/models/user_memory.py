"""Per-user memory: a batched GRU over what a user did, with a decayed ring of past states.

Dimensions: B users in a batch, L positions, R interactions, U users, M memory slots, D item width, E memory width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import accumulate

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ur4rec.models.config import MemoryConfig, UpdateTrigger


@dataclass(frozen=True)
class MemoryState:
    """Memory of B users; slot 0 is the current state."""

    history: Float[Tensor, "B M E"]
    memory_size: Int[Tensor, "B"]
    """Slots in use."""
    interaction_count: Int[Tensor, "B"]
    """Interactions read since the last update."""
    absorbed: Int[Tensor, "B"]
    """Cursor: interactions read so far."""
    last_update_s: Int[Tensor, "B"]
    pending_sum: Float[Tensor, "B D"]
    """Sum of the item vectors read since the last update."""

    def map(self, function: Callable[[Tensor], Tensor]) -> MemoryState:
        """Applies a function to every tensor."""
        return MemoryState(*(function(tensor) for tensor in self.tensors()))

    def tensors(self) -> Iterator[Tensor]:
        """The tensors in the order of the fields."""
        return (getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class Runs:
    """Interactions of B users, each user's one after another: `lengths` rows from `starts` on."""

    items: Int[Tensor, "R"]
    timestamps: Int[Tensor, "R"]
    """Seconds."""
    starts: Int[Tensor, "B"]
    lengths: Int[Tensor, "B"]

    def pad(self, extra: int = 0, longest: int | None = None) -> tuple[Int[Tensor, "B L"], Int[Tensor, "B L"]]:
        """Items and timestamps as rectangles, `extra` rows more a user, filled up with 0 to the longest or as given."""
        if longest is None:
            longest = int(self.lengths.max()) if len(self.lengths) else 0
        columns = torch.arange(longest + extra, device=self.items.device)
        inside = columns < self.lengths[:, None] + extra
        rows = (self.starts[:, None] + columns).clamp_max(max(len(self.items) - 1, 0))
        return self.items[rows] * inside, self.timestamps[rows] * inside


USERS_AT_ONCE = 2048
"""Users replayed or updated together: with the default widths their states stay in the cache and in memory that the
process already has, which makes it three times faster than all users at once."""
STATE_FIELDS = tuple(field.name for field in fields(MemoryState))


def find_state_fault(state: MemoryState) -> str:
    """Returns what is wrong with the state of some users, beginning with the field's name; empty where nothing is."""
    slots = state.history.shape[1]
    limits = {"memory_size": (0, slots), "interaction_count": (0, None), "absorbed": (0, None)}
    for name, (least, most) in limits.items():
        low, high = torch.stack(torch.aminmax(getattr(state, name))).tolist()
        if low < least or (most is not None and high > most):
            return f"{name}: expected {least} to {'any' if most is None else most}, found {low} to {high}"
    if bool((state.interaction_count > state.absorbed).any()):
        return "interaction_count: expected no more than the interactions read, absorbed"
    return ""


class UserMemory(nn.Module):
    """Reads interactions one by one and folds them into a GRU state when the trigger fires.

    The GRU's input is the mean item vector of the interactions since the last update, so it does not depend on
    any window. The state of every user lives in buffers that are saved apart from the weights.

    Args:
        num_users: U; user 0 is the padding user.
        item_dim: Width D of the item vectors.
        config: Shape and trigger.
    """

    history: Tensor
    absorbed: Tensor
    memory_size: Tensor
    decay: Tensor

    def __init__(self, num_users: int, item_dim: int, config: MemoryConfig) -> None:
        super().__init__()
        self.config = config
        self.item_dim = item_dim
        self.input = nn.Linear(item_dim, config.memory_dim)
        self.cell = nn.GRUCell(config.memory_dim, config.memory_dim)
        decay = config.decay_factor ** torch.arange(max(config.max_memory_size, 1), dtype=torch.float32)
        self.register_buffer("decay", decay, persistent=False)
        for name, row in zip(STATE_FIELDS, self.empty_state(1).tensors(), strict=True):
            self.register_buffer(name, _untouched_zeros(num_users + 1, row), persistent=False)

    def empty_state(self, batch: int) -> MemoryState:
        """State of users who have done nothing."""
        device = self.input.weight.device
        history = torch.zeros(batch, self.config.max_memory_size, self.config.memory_dim, device=device)
        size, count, absorbed, last_update_s = torch.zeros(4, batch, dtype=torch.int64, device=device)
        pending_sum = torch.zeros(batch, self.item_dim, device=device)
        return MemoryState(history, size, count, absorbed, last_update_s, pending_sum)

    def stored_state(self, user_ids: Int[Tensor, "B"]) -> MemoryState:
        """State of known users; a user outside 1..U gets an empty one of their own."""
        known = (user_ids > 0) & (user_ids < len(self.absorbed))
        rows = torch.where(known, user_ids, 0)  # row 0 stays empty
        return MemoryState(*(getattr(self, name)[rows] for name in STATE_FIELDS))

    def store(self, user_ids: Int[Tensor, "B"], state: MemoryState) -> None:
        """Keeps the state of known users; others are ephemeral and dropped."""
        known = (user_ids > 0) & (user_ids < len(self.absorbed))
        for name, tensor in zip(STATE_FIELDS, state.tensors(), strict=True):
            getattr(self, name)[user_ids[known]] = tensor[known].detach()

    def read(self, state: MemoryState) -> Float[Tensor, "B E"]:
        """Decayed mean of the slots in use: Σ decay^k·history_k / Σ decay^k."""
        slots = torch.arange(state.history.shape[1], device=state.history.device)
        weights = self.decay[: len(slots)] * (slots < state.memory_size[:, None])
        total = weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
        return torch.einsum("bm,bme->be", weights / total, state.history)

    def step(
        self,
        state: MemoryState,
        item_vectors: Float[Tensor, "B D"],
        timestamps: Int[Tensor, "B"],
        active: Bool[Tensor, "B"],
    ) -> MemoryState:
        """Returns the state after one interaction of each active user."""
        first = active & (state.memory_size == 0) & (state.interaction_count == 0)
        read = active.to(torch.int64)
        pending = replace(
            state,
            interaction_count=state.interaction_count + read,
            absorbed=state.absorbed + read,
            last_update_s=torch.where(first, timestamps, state.last_update_s),
            pending_sum=state.pending_sum + item_vectors * active[:, None],
        )
        triggered = active & self._triggered(pending, timestamps)
        return self._update(pending, timestamps, triggered) if bool(triggered.any()) else pending

    def scan(
        self,
        state: MemoryState,
        item_vectors: Float[Tensor, "B L D"],
        timestamps: Int[Tensor, "B L"],
        active: Bool[Tensor, "B L"],
    ) -> tuple[Float[Tensor, "B L E"], MemoryState]:
        """Reads a window in time order.

        Returns:
            What the memory says after each position, and the state after the last.
        """
        reads = []
        for position in range(item_vectors.shape[1]):
            state = self.step(state, item_vectors[:, position], timestamps[:, position], active[:, position])
            reads.append(self.read(state))
        return torch.stack(reads, dim=1), state

    def advance(
        self,
        state: MemoryState,
        item_vectors: Float[Tensor, "B L D"],
        timestamps: Int[Tensor, "B L"],
        active: Bool[Tensor, "B L"],
    ) -> MemoryState:
        """State after a window, like `scan`; positions that nobody has to read cost nothing."""
        for position in active.any(dim=0).nonzero().squeeze(1).tolist():
            state = self.step(state, item_vectors[:, position], timestamps[:, position], active[:, position])
        return state

    @torch.no_grad()
    def read_to_update(
        self,
        state: MemoryState,
        item_vectors: Float[Tensor, "B L D"],
        timestamps: Int[Tensor, "B L"],
        active: Bool[Tensor, "B L"],
    ) -> MemoryState:
        """State after the first update that each user's window causes, or after the window where it causes none.

        The active positions of a user come first.
        """
        length = active.shape[1]
        first = active[:, 0] & (state.memory_size == 0) & (state.interaction_count == 0)
        begun = replace(state, last_update_s=torch.where(first, timestamps[:, 0], state.last_update_s))
        vectors = (item_vectors * active[..., None]).unbind(dim=1)
        sums = torch.stack(list(accumulate(vectors, initial=state.pending_sum))[1:], dim=1)
        each = replace(begun, history=state.history[:, :1]).map(lambda tensor: tensor.repeat_interleave(length, dim=0))
        counts = each.interaction_count + torch.arange(1, length + 1, device=active.device).repeat(len(active))
        each = replace(each, interaction_count=counts, pending_sum=sums.flatten(0, 1))
        fires = self._triggered(each, timestamps.flatten()).view_as(active) & active
        triggered = fires.any(dim=1)
        read = torch.where(triggered, fires.int().argmax(dim=1) + 1, active.sum(dim=1))
        last = (read - 1).clamp_min(0)[:, None]
        pending = replace(
            begun,
            interaction_count=state.interaction_count + read,
            absorbed=state.absorbed + read,
            pending_sum=sums.take_along_dim(last[..., None], dim=1)[:, 0],
        )
        return self._update(pending, timestamps.gather(1, last)[:, 0], triggered) if bool(triggered.any()) else pending

    @torch.no_grad()
    def force_update(self, state: MemoryState, representation: Float[Tensor, "B D"], force: bool) -> MemoryState:
        """Updates with a representation in place of the pending mean, where forced or triggered; else nothing changes.

        No time passes, so `time_based` does not trigger.
        """
        count = state.interaction_count.clamp_min(1)
        pending = replace(state, interaction_count=count, pending_sum=representation * count[:, None])
        everyone = torch.ones_like(count, dtype=torch.bool)
        triggered = everyone if force else self._triggered(pending, state.last_update_s)
        kept = replace(
            state,
            interaction_count=torch.where(triggered, count, state.interaction_count),
            pending_sum=torch.where(triggered[:, None], pending.pending_sum, state.pending_sum),
        )
        return self._update(kept, state.last_update_s, triggered)

    def _triggered(self, state: MemoryState, timestamps: Int[Tensor, "B"]) -> Bool[Tensor, "B"]:
        match self.config.update_trigger:
            case UpdateTrigger.INTERACTION_COUNT:
                return state.interaction_count >= self.config.interaction_threshold
            case UpdateTrigger.TIME_BASED:
                return timestamps - state.last_update_s >= self.config.time_threshold_s
            case UpdateTrigger.DRIFT_THRESHOLD:
                return (state.memory_size == 0) | (self._drift(state) > self.config.drift_threshold)
            case UpdateTrigger.EXPLICIT:
                return torch.zeros_like(state.memory_size, dtype=torch.bool)

    @torch.no_grad()
    def _drift(self, state: MemoryState) -> Float[Tensor, "B"]:
        pending = self.input(self._pending_mean(state)).double()
        return 1 - torch.cosine_similarity(pending, state.history[:, 0].double(), dim=1)

    @staticmethod
    def _pending_mean(state: MemoryState) -> Float[Tensor, "B D"]:
        return state.pending_sum / state.interaction_count.clamp_min(1)[:, None]

    def _update(self, state: MemoryState, timestamps: Int[Tensor, "B"], triggered: Bool[Tensor, "B"]) -> MemoryState:
        rows = triggered.nonzero().squeeze(1)
        old = state.history[rows]
        new = self.cell(self.input(self._pending_mean(state)[rows]), old[:, 0])
        ring = torch.cat([new[:, None], old[:, :-1]], dim=1)
        size = (state.memory_size + triggered).clamp_max(self.config.max_memory_size)
        return replace(
            state,
            history=state.history.index_copy(0, rows, ring),
            memory_size=size,
            interaction_count=state.interaction_count.masked_fill(triggered, 0),
            last_update_s=torch.where(triggered, timestamps, state.last_update_s),
            pending_sum=state.pending_sum.masked_fill(triggered[:, None], 0),
        )


def _untouched_zeros(num_rows: int, row: Tensor) -> Tensor:
    """Zeros whose memory the system hands out page by page as it is written; `torch.zeros` writes all of it."""
    zeros = np.zeros((num_rows, *row.shape[1:]), np.float32 if row.is_floating_point() else np.int64)
    return torch.from_numpy(zeros).to(row.device)
