"""Checkpoints: plain state dictionaries beside the configuration that rebuilds the model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ur4rec.models.config import ModelConfig
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.training.stage_names import STAGES

MODEL_CONFIG = "model_config.json"
HISTORY = "history.json"
WARM_START = "warm_start"
"""Key of the history, beside `stages`: the origin of a training that did not begin from scratch."""
FINAL_MODEL = "final_model.pt"
FINAL_MEMORIES = "final_memories.pt"


class CheckpointError(ValueError):
    """A checkpoint folder that does not hold what was asked for."""


def best_file(stage: str) -> str:
    """File name of a stage's best weights."""
    return f"{stage}_best.pt"


def memories_file(stage: str) -> str:
    """File name of a stage's memories."""
    return f"{stage}_memories.pt"


def write_model_config(folder: Path, model: UR4RecV2MoE) -> None:
    """Writes what `load_model` needs besides the weights."""
    content = {"num_items": model.num_items, "num_users": model.num_users, "config": model.config.to_dict()}
    (folder / MODEL_CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Origin:
    """The model that a training started from."""

    name: str
    """`models:/NAME/VERSION`, or a folder."""
    digest: str
    """Of its contents."""
    training_cutoff_s: int
    """Last interaction that it, or whatever it had started from, was trained on."""
    num_items: int
    """Items whose vectors were carried over."""


def read_origin(checkpoint: Path) -> Origin | None:
    """What the first stage of a checkpoint started from; None: from scratch."""
    path = checkpoint / HISTORY
    told = json.loads(path.read_text(encoding="utf-8")).get(WARM_START) if path.is_file() else None
    return None if told is None else Origin(**told)


def find_weights(checkpoint: Path, stage: str | None = None) -> Path:
    """File with the weights of a stage; by default `final_model.pt`, else those of the latest stage there is.

    Raises:
        CheckpointError: The folder holds no such file; names it.
    """
    latest = [FINAL_MODEL, *(best_file(name) for name in reversed(STAGES))]
    names = [best_file(stage)] if stage else latest
    for name in names:
        if (checkpoint / name).is_file():
            return checkpoint / name
    raise CheckpointError(f"{checkpoint / names[0]}: not found; expected the folder that a training stage wrote")


def load_state(checkpoint: Path, stage: str | None = None) -> dict[str, Tensor]:
    """Weights that `find_weights` finds.

    Raises:
        CheckpointError: The folder holds no such file; names it.
    """
    state: dict[str, Tensor] = torch.load(find_weights(checkpoint, stage), weights_only=True, map_location="cpu")
    return state


def load_model(checkpoint: Path, device: str = "cpu", stage: str | None = None) -> UR4RecV2MoE:
    """Rebuilds a trained model.

    Args:
        checkpoint: Folder of a training stage.
        device: `auto`, `cpu` or `cuda`.
        stage: Which stage's weights; the latest by default.

    Raises:
        CheckpointError: The folder does not hold the stage or the configuration.
    """
    path = Path(checkpoint) / MODEL_CONFIG
    if not path.is_file():
        raise CheckpointError(f"{path}: not found; expected the folder that a training stage wrote")
    content = json.loads(path.read_text(encoding="utf-8"))
    state = load_state(Path(checkpoint), stage)
    config = ModelConfig.parse(content["config"], str(path))
    model = UR4RecV2MoE(content["num_items"], content["num_users"], config)
    model.load_state_dict(state)
    return model.to(resolve_device(device)).eval()


def resolve_device(device: str) -> torch.device:
    """`auto` is the GPU where there is one.

    Raises:
        CheckpointError: `cuda` is asked for and there is none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise CheckpointError("device cuda: no GPU is available; use --device cpu or auto")
    return torch.device(device)
