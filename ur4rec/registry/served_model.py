"""The model's part of a bundle: weights, configuration and memories replayed over the full histories."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from ur4rec.data.sequences import Histories
from ur4rec.models.tensor_files import write_tensors
from ur4rec.training.checkpoints import FINAL_MODEL, MODEL_CONFIG, CheckpointError, load_model
from ur4rec.training.scoring import ModelScorer

MEMORIES = "memories.pt"


def write_served_model(checkpoint: Path, histories: Histories, folder: Path) -> None:
    """Writes the latest stage's weights, completed to those of a whole model, and their memories of `histories`."""
    model = load_model(checkpoint)
    with (folder / FINAL_MODEL).open("wb") as file:
        write_tensors(file, model.state_dict())
    shutil.copyfile(checkpoint / MODEL_CONFIG, folder / MODEL_CONFIG)
    ModelScorer(model, histories)  # replays the memories
    model.save_memories(folder / MEMORIES)


def load_scorer(folder: Path, histories: Histories, device: str = "cpu") -> ModelScorer:
    """The scorer of a bundle folder, with the memories it was saved with.

    Raises:
        CheckpointError: The model is of other users, or its memories have not read these histories.
        TensorFileError: The weights or the memories are damaged, or not of the configured model.
    """
    model = load_model(folder, device=device)
    if model.num_users != histories.num_users:
        raise CheckpointError(
            f"{folder / MODEL_CONFIG}: num_users: is {model.num_users:,}, the histories are of "
            f"{histories.num_users:,}; register the model again"
        )
    model.load_memories(folder / MEMORIES)
    read = model.memory_tensors().get("absorbed")
    if read is not None and not np.array_equal(read.cpu(), histories.lengths):
        raise CheckpointError(f"{folder / MEMORIES}: absorbed: differs from the histories; register the model again")
    return ModelScorer(model, histories, replay=False)
