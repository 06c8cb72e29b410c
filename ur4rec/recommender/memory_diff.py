"""How the memories of two models differ: who has one, what was read since, whose moved most.

Dimensions: B users in a chunk, M memory slots, U users that both models know.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cosine_similarity

from ur4rec.data.sequences import USER_MAP
from ur4rec.models.user_memory import MemoryState, UserMemory
from ur4rec.recommender.memories import MemoryLookupError, open_memories
from ur4rec.storage.artifacts import ArtifactError
from ur4rec.storage.contents import read_index
from ur4rec.training.checkpoints import check_dataset

TOLERANCE = 1e-5
"""Largest difference of an element between states that count as the same: a replay in other batches rounds anew."""
QUANTILES = {"percentile 1": 0.01, "percentile 5": 0.05, "median": 0.5, "percentile 95": 0.95}
USERS_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Movement:
    """How far the memory of one user moved from A to B."""

    user_id: str
    cosine: float
    """Cosine of the two read-outs."""
    interactions: int
    """So many more were read by B than by A."""
    updates: int
    """Updates of B since the state of A; as many as there are slots stands for that many or more."""


@dataclass(frozen=True)
class MemoryDifference:
    """Memories of B compared with those of A."""

    read_up_to: tuple[str, str]
    """What those of A and of B have read, values of `READ_UP_TO`."""
    by_id: bool
    """Whether users were matched by their original id; otherwise by their index."""
    comparable: bool
    """Whether both memories have the same weights. Two trainings have unrelated latent spaces: a cosine between them
    compares nothing, so there are counts only."""
    numbers: dict[str, float]
    most_moved: tuple[Movement, ...]
    """Those whose memory differs, smallest cosine first; empty where the memories are not comparable."""


@dataclass(frozen=True)
class _Side:
    memory: UserMemory
    read_up_to: str
    users: dict[str, int] | None
    """Original id → index; None where the ids are not known."""

    def indices(self) -> dict[str, int]:
        """Name users by their ids, or else by their indices."""
        if self.users is not None:
            return self.users
        return {str(index): index for index in range(1, len(self.memory.absorbed))}


@dataclass(frozen=True)
class _Changes:
    """One entry for each user that both models know; the last three are empty where the memories do not compare."""

    in_use: Bool[Tensor, "U 2"]
    """Whether A and B hold a state."""
    interactions: Int[Tensor, "U"]
    slots: Int[Tensor, "U"]
    changed: Bool[Tensor, "U"]
    updates: Int[Tensor, "U"]
    cosines: Float[Tensor, "U"]


def compare_memories(
    first: Path, second: Path, sequences: tuple[Path | None, Path | None] = (None, None), top: int = 10
) -> MemoryDifference:
    """Compare the memories of two bundles or folders of outputs, A and B.

    Args:
        first: A.
        second: B.
        sequences: Sequences folders of A and B; a bundle has ids of its own. Without any, users are matched by index.
        top: Number of users to name that moved most.

    Raises:
        ArtifactError: There are no memories, or ids of one side only.
        CheckpointError: A model was not trained on its sequences.
        MemoryLookupError: A model has no memory.
    """
    a, b = (_open(Path(folder), known) for folder, known in zip((first, second), sequences, strict=True))
    if (a.users is None) != (b.users is None):
        unnamed = first if a.users is None else second
        raise ArtifactError(f"{Path(unnamed) / USER_MAP}: not found; name the sequences folder with --sequences")
    users_a, users_b = a.indices(), b.indices()
    both = [user for user in users_a if user in users_b]
    rows = torch.tensor([[users_a[user], users_b[user]] for user in both], dtype=torch.int64).reshape(-1, 2)
    weights = ([side.memory.decay, *side.memory.parameters()] for side in (a, b))
    comparable = all(torch.equal(one, other) for one, other in zip(*weights, strict=True))
    changes = _compare_users(a.memory, b.memory, rows, comparable)
    numbers: dict[str, float] = {
        "users in both": len(both),
        "users only in A": len(users_a) - len(both),
        "users only in B": len(users_b) - len(both),
    }
    return MemoryDifference(
        read_up_to=(a.read_up_to, b.read_up_to),
        by_id=a.users is not None,
        comparable=comparable,
        numbers=numbers | _summarize(changes, comparable),
        most_moved=_most_moved(changes, both, top) if comparable else (),
    )


def _open(folder: Path, sequences: Path | None) -> _Side:
    model, read_up_to = open_memories(folder)
    memory = model.retriever.memory
    if memory is None:
        raise MemoryLookupError(f"{folder}: the model was trained without memory (max_memory_size: 0)")
    path = folder / USER_MAP
    if sequences is not None and not path.is_file():
        check_dataset(folder, sequences)
        path = sequences / USER_MAP
    users = read_index(path) if path.is_file() else None
    return _Side(memory, read_up_to, users)


def _compare_users(a: UserMemory, b: UserMemory, rows: Int[Tensor, "U 2"], comparable: bool) -> _Changes:
    compare = _compare_states if comparable else _compare_counts
    chunks = [
        compare(a, a.stored_state(part[:, 0]), b.stored_state(part[:, 1])) for part in torch.split(rows, USERS_AT_ONCE)
    ]
    columns = zip(*(vars(chunk).values() for chunk in chunks), strict=True)
    return _Changes(*(torch.cat(column) for column in columns))


@torch.no_grad()
def _compare_states(memory: UserMemory, a: MemoryState, b: MemoryState) -> _Changes:
    counts = _compare_counts(memory, a, b)
    moved = (a.history[:, 0] - b.history[:, 0]).abs().amax(dim=1) > TOLERANCE
    counted = [one != other for one, other in list(zip(a.tensors(), b.tensors(), strict=True))[1:5]]
    return replace(
        counts,
        changed=torch.stack([moved, *counted]).any(dim=0),
        updates=torch.where(counts.interactions < 0, -_updates_since(b, a), _updates_since(a, b)),
        cosines=cosine_similarity(memory.read(a), memory.read(b)),
    )


def _compare_counts(memory: UserMemory, a: MemoryState, b: MemoryState) -> _Changes:
    in_use = torch.stack([a.memory_size, b.memory_size], dim=1) > 0
    nothing = torch.empty(0, dtype=torch.int64)
    return _Changes(
        in_use, b.absorbed - a.absorbed, b.memory_size - a.memory_size, nothing.bool(), nothing, nothing.float()
    )


def _updates_since(old: MemoryState, new: MemoryState) -> Int[Tensor, "B"]:
    """Find the slot of the new ring in which the old state stands; the number of slots where it has left the ring."""
    same = (new.history - old.history[:, :1]).abs().amax(dim=2) <= TOLERANCE
    slots = torch.arange(same.shape[1])
    places = torch.where(same & (slots < new.memory_size[:, None]), slots, same.shape[1]).amin(dim=1)
    return torch.where(old.memory_size == 0, new.memory_size, places)


def _summarize(changes: _Changes, comparable: bool) -> dict[str, float]:
    in_a, in_b = changes.in_use.unbind(dim=1)
    numbers: dict[str, float] = {
        "with a memory in both": int((in_a & in_b).sum()),
        "with a memory only in A": int((in_a & ~in_b).sum()),
        "with a memory only in B": int((in_b & ~in_a).sum()),
        "read more or less in B": int((changes.interactions != 0).sum()),
        "interactions more in B": int(changes.interactions.sum()),
        "slots in use more in B": int(changes.slots.sum()),
    }
    if not comparable:
        return numbers
    numbers |= {"changed": int(changes.changed.sum()), "updates more in B": int(changes.updates.sum())}
    cosines = changes.cosines[in_a & in_b].double()
    if len(cosines):
        numbers["cosine, mean"] = cosines.mean().item()
        numbers |= {f"cosine, {name}": cosines.quantile(share).item() for name, share in QUANTILES.items()}
    return numbers


def _most_moved(changes: _Changes, users: list[str], top: int) -> tuple[Movement, ...]:
    candidates = (changes.in_use.all(dim=1) & changes.changed).nonzero().squeeze(1)
    order = changes.cosines[candidates].argsort(stable=True)[:top]
    return tuple(
        Movement(users[row], changes.cosines[row].item(), int(changes.interactions[row]), int(changes.updates[row]))
        for row in candidates[order].tolist()
    )
