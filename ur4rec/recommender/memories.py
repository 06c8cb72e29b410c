"""A look into saved memories: all users in a few numbers, one user in detail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch.nn.functional import cosine_similarity

from ur4rec.data.sequences import USER_MAP
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.recommender.bundle import MEMORIES
from ur4rec.storage.artifacts import MANIFEST, ArtifactError, read_artifact
from ur4rec.storage.contents import read_index
from ur4rec.training.checkpoints import FINAL_MEMORIES, check_dataset, load_model

READ_UP_TO = {MEMORIES: "every interaction", FINAL_MEMORIES: "the training interactions"}
"""Memories file → what its memories have read; for the test they are replayed up to each user's test target."""


class MemoryLookupError(ValueError):
    """A user whose memory cannot be shown; says why."""


@dataclass(frozen=True)
class UserMemoryReport:
    """What the memory holds of one user."""

    user_id: str
    read_up_to: str
    """A value of `READ_UP_TO`."""
    absorbed: int
    """Interactions read so far."""
    pending: int
    """Interactions read since the last update."""
    last_update: str
    """UTC, or empty where there was none."""
    norms: tuple[float, ...]
    """Length of each slot in use, the current state first."""
    similarities: tuple[float, ...]
    """Cosine of each slot in use with the current state."""


def memory_statistics(folder: Path) -> tuple[str, dict[str, int | float]]:
    """Count what the memories of a bundle or a folder of outputs hold, and the bytes that they take.

    Returns:
        A value of `READ_UP_TO`, and the numbers by name.
    """
    model, read_up_to = open_memories(Path(folder))
    tensors = model.memory_tensors().values()
    sizes = {
        "bytes_per_user": float(sum(tensor[0].nbytes for tensor in tensors)),
        "total_bytes": float(sum(tensor.nbytes for tensor in tensors)),
    }
    return read_up_to, model.get_memory_stats() | sizes


def describe_user(folder: Path, user_id: str, sequences: Path | None = None) -> UserMemoryReport:
    """Describe the memory of one user.

    Args:
        folder: A bundle or a folder of outputs.
        user_id: Original id.
        sequences: Sequences folder; not needed with a bundle.

    Raises:
        ArtifactError: There are no memories or no user map.
        CheckpointError: The model was trained on other sequences.
        MemoryLookupError: The user is unknown, or the model has no memory.
        TensorFileError: The file of the memories or of the weights is damaged.
    """
    if sequences is not None:
        check_dataset(Path(folder), sequences)
    user = _find_user(Path(folder), user_id, sequences)
    model, read_up_to = open_memories(Path(folder))
    state = model.memory_tensors()
    if not state:
        raise MemoryLookupError(f"{folder}: the model was trained without memory (max_memory_size: 0)")
    size = int(state["memory_size"][user])
    slots = state["history"][user, :size]
    similarities = cosine_similarity(slots, slots[:1]) if size else torch.empty(0)
    updated_s = int(state["last_update_s"][user])
    return UserMemoryReport(
        user_id=user_id,
        read_up_to=read_up_to,
        absorbed=int(state["absorbed"][user]),
        pending=int(state["interaction_count"][user]),
        last_update=f"{datetime.fromtimestamp(updated_s, UTC):%Y-%m-%d %H:%M:%S UTC}" if size else "",
        norms=tuple(slots.norm(dim=1).tolist()),
        similarities=tuple(similarities.tolist()),
    )


def open_memories(folder: Path) -> tuple[UR4RecV2MoE, str]:
    """Load the model of a bundle or a folder of outputs with its newest memories; also says what they have read.

    Raises:
        ArtifactError: There are no memories, or the folder has a manifest and is altered.
        CheckpointError: The folder does not hold a model.
        TensorFileError: A file is damaged, or not of this model.
    """
    if (folder / MANIFEST).is_file():
        read_artifact(folder)
    for name, read_up_to in READ_UP_TO.items():
        if (folder / name).is_file():
            model = load_model(folder)
            model.load_memories(folder / name)
            return model, read_up_to
    raise ArtifactError(f"{folder}: not found, or holds neither {MEMORIES} nor {FINAL_MEMORIES}; train the model first")


def _find_user(folder: Path, user_id: str, sequences: Path | None) -> int:
    path = (sequences or folder) / USER_MAP
    if not path.is_file():
        raise ArtifactError(
            f"{path}: not found; name the sequences folder with --sequences, "
            "or leave --model out to read the registered model"
        )
    user = read_index(path).get(user_id)
    if user is None:
        raise MemoryLookupError(f"no user {user_id!r} in the data of this model; an unknown user has no memory")
    return user
