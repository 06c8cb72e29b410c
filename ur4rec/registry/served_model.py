"""The model's part of a bundle: weights, configuration and memories replayed over the full histories."""

from __future__ import annotations

import shutil
from pathlib import Path

from ur4rec.data.sequences import Histories
from ur4rec.training.checkpoints import MODEL_CONFIG, STAGES, CheckpointError, best_file, load_model
from ur4rec.training.scoring import ModelScorer

MEMORIES = "memories.pt"


class ServedScorer(ModelScorer):
    """Scores with the memories the model holds: a bundle's were replayed when it was made."""

    def _rebuild_memories(self) -> None:
        """Nothing to do."""


def find_weights(checkpoint: Path) -> Path:
    """The weights of the latest stage in a folder.

    Raises:
        CheckpointError: There are none.
    """
    for stage in reversed(STAGES):
        if (checkpoint / best_file(stage)).is_file():
            return checkpoint / best_file(stage)
    raise CheckpointError(f"{checkpoint}: holds no {best_file('*')}; expected the folder of a training stage")


def write_served_model(checkpoint: Path, histories: Histories, folder: Path) -> None:
    """Copies the latest stage's weights and writes the memories those weights give over `histories`."""
    for path in (find_weights(checkpoint), checkpoint / MODEL_CONFIG):
        shutil.copyfile(path, folder / path.name)
    model = load_model(folder)
    ModelScorer(model, histories)  # replays the memories
    model.save_memories(folder / MEMORIES)


def load_scorer(folder: Path, histories: Histories, device: str = "cpu") -> ModelScorer:
    """The scorer of a bundle folder, with the memories it was saved with."""
    model = load_model(folder, device=device)
    model.load_memories(folder / MEMORIES)
    return ServedScorer(model, histories)
