"""The model's part of a bundle: weights, configuration and memories replayed over the full histories."""

from __future__ import annotations

import shutil
from pathlib import Path

from ur4rec.data.sequences import Histories
from ur4rec.training.checkpoints import FINAL_MODEL, MODEL_CONFIG, find_weights, load_model
from ur4rec.training.scoring import ModelScorer

MEMORIES = "memories.pt"


def write_served_model(checkpoint: Path, histories: Histories, folder: Path) -> None:
    """Copies the latest stage's weights and writes the memories those weights give over `histories`."""
    model = load_model(checkpoint)
    shutil.copyfile(find_weights(checkpoint), folder / FINAL_MODEL)
    shutil.copyfile(checkpoint / MODEL_CONFIG, folder / MODEL_CONFIG)
    ModelScorer(model, histories)  # replays the memories
    model.save_memories(folder / MEMORIES)


def load_scorer(folder: Path, histories: Histories, device: str = "cpu") -> ModelScorer:
    """The scorer of a bundle folder, with the memories it was saved with."""
    model = load_model(folder, device=device)
    model.load_memories(folder / MEMORIES)
    return ModelScorer(model, histories, replay=False)
