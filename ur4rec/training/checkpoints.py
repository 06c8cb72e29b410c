"""Checkpoints: plain state dictionaries beside the configuration that rebuilds the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from ur4rec.models.config import ModelConfig, Part
from ur4rec.models.saved_model import FINAL_MEMORIES as FINAL_MEMORIES
from ur4rec.models.saved_model import FINAL_MODEL as FINAL_MODEL
from ur4rec.models.saved_model import MEND, read_json, read_model_config
from ur4rec.models.saved_model import MODEL_CONFIG as MODEL_CONFIG
from ur4rec.models.saved_model import CheckpointError as CheckpointError
from ur4rec.models.tensor_files import read_tensors
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.storage.artifacts import read_artifact
from ur4rec.training.stage_names import STAGES, Stage

DATASET_DIGEST = "dataset_digest"
"""Key of the model configuration."""
HISTORY = "history.json"
WARM_START = "warm_start"
"""Key of the history, beside `stages`: the origin of a training that did not begin from scratch."""
STAGE_KEYS = {"stage", "epochs", "best_epoch", "seconds", "validation", "series"}
"""Keys of each entry of the history's `stages`."""


SASREC = ("sasrec.", "fusion.sasrec_log_temperature")
RETRIEVER = ("retriever.", "fusion.retriever_log_temperature")
"""Prefixes of the parameters that a pretraining stage trains."""
HELD: Mapping[str, tuple[str, ...]] = {
    Stage.PRETRAIN_SASREC: SASREC,
    Stage.PRETRAIN_RETRIEVER: (*SASREC, *RETRIEVER),
}
"""Prefixes of what a pretraining stage leaves, for the rest has the shape of later stages; those leave everything."""


def best_file(stage: str) -> str:
    """File name of a stage's best weights."""
    return f"{stage}_best.pt"


def memories_file(stage: str) -> str:
    """File name of a stage's memories."""
    return f"{stage}_memories.pt"


def list_held(stage: str) -> tuple[str, ...]:
    """Prefixes of the weights that a stage leaves for the ones after it."""
    return HELD.get(stage, ("",))


def write_model_config(folder: Path, model: UR4RecV2MoE, dataset_digest: str) -> None:
    """Writes what `load_model` needs besides the weights, and the digest of the data set that the model is trained on.

    Rows of the weights belong to indices of that data set.
    """
    sizes = {"num_items": model.num_items, "num_users": model.num_users}
    content = sizes | {DATASET_DIGEST: dataset_digest, "config": model.config.to_dict()}
    (folder / MODEL_CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Origin:
    """The model that a training started from."""

    name: str
    """`models:/NAME/VERSION`, or a folder."""
    digest: str
    """Digest of its contents."""
    training_cutoff_s: int
    """Last interaction that it, or whatever it had started from, was trained on."""
    num_items: int
    """Items whose vectors were carried over."""


def read_origin(checkpoint: Path) -> Origin | None:
    """Returns what the first stage of a checkpoint started from; None: from scratch.

    Raises:
        CheckpointError: The history is damaged.
    """
    told = read_raw_history(checkpoint).get(WARM_START) if (checkpoint / HISTORY).is_file() else None
    return None if told is None else Origin(**told)


def read_raw_history(checkpoint: Path) -> dict[str, Any]:
    """The stages of a checkpoint so far, and the origin of the first where it has one.

    Raises:
        CheckpointError: The file is missing or damaged, or a key is missing; names it.
    """
    path = checkpoint / HISTORY
    content = read_json(path)
    stages = content.get("stages")
    if not isinstance(stages, list):
        raise CheckpointError(f"{path}: stages: expected a list; {MEND}")
    parts = [*((f"stages.{place}", STAGE_KEYS, stage) for place, stage in enumerate(stages))]
    parts += (
        [(WARM_START, {field.name for field in fields(Origin)}, content[WARM_START])] if WARM_START in content else []
    )
    for name, keys, part in parts:
        if not isinstance(part, dict) or not keys <= part.keys():
            raise CheckpointError(f"{path}: {name}: expected the keys {', '.join(sorted(keys))}; {MEND}")
    return content


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


def trained_part(checkpoint: Path, config: ModelConfig) -> Part:
    """Returns the part that the weights of `find_weights` can score by: a pretraining stage trains its part alone.

    Raises:
        CheckpointError: The folder holds no weights.
    """
    pretrained = {best_file(Stage.PRETRAIN_SASREC): Part.SASREC, best_file(Stage.PRETRAIN_RETRIEVER): Part.RETRIEVER}
    return pretrained.get(find_weights(checkpoint).name, config.whole)


def check_whole(checkpoint: Path) -> None:
    """Checks that the whole model is trained, and not the part of a pretraining stage alone.

    Raises:
        CheckpointError: It is not; or the folder does not hold a model.
    """
    config = read_shape(checkpoint)
    if trained_part(checkpoint, config) is not config.whole:
        raise CheckpointError(f"{checkpoint}: only a part of the model is trained; name the folder of a later stage")


def load_model(checkpoint: Path, device: str = "cpu", stage: str | None = None) -> UR4RecV2MoE:
    """Rebuilds a trained model.

    Args:
        checkpoint: Folder of a training stage.
        device: `auto`, `cpu` or `cuda`.
        stage: Which stage's weights; the latest by default.

    Raises:
        CheckpointError: The folder does not hold the stage or the configuration, or that is damaged.
        TensorFileError: The file of the weights is damaged, or is not of the configured model.
    """
    content = read_model_config(Path(checkpoint))
    weights = find_weights(Path(checkpoint), stage)
    state = read_tensors(weights)
    config = _parse_shape(Path(checkpoint), content)
    model = UR4RecV2MoE(content["num_items"], content["num_users"], config)
    model.load_weights(weights, state, list_held(weights.name.removesuffix(best_file(""))))
    return model.to(resolve_device(device)).eval()


def check_dataset(checkpoint: Path, sequences: Path) -> None:
    """Checks that a model was trained on these sequences: its weights and memories go by their indices.

    Raises:
        ArtifactError: The sequences are missing or altered.
        CheckpointError: The model was trained on others; names both folders.
    """
    content, manifest = read_model_config(Path(checkpoint)), read_artifact(Path(sequences))
    here: dict[str, Any] = manifest.details | {DATASET_DIGEST: manifest.content_digest}
    told = {name: content[name] for name in ("num_items", "num_users", DATASET_DIGEST) if content.get(name)}
    if different := [name for name, value in told.items() if here.get(name, value) != value]:
        name = different[0]
        raise CheckpointError(
            f"{checkpoint}: was not trained on {sequences}: {name} is {_shorten(told[name])} there and "
            f"{_shorten(here[name])} here; name the sequences that it was trained on"
        )


def _shorten(value: object) -> str:
    return str(value)[:8]


def read_shape(checkpoint: Path) -> ModelConfig:
    """Returns the settings that shape the model of a checkpoint or of a bundle.

    Raises:
        CheckpointError: The folder does not hold the configuration, or that is damaged.
        ConfigError: It holds a key that this release does not know, or a value out of range.
    """
    return _parse_shape(checkpoint, read_model_config(checkpoint))


def _parse_shape(checkpoint: Path, content: dict[str, Any]) -> ModelConfig:
    return ModelConfig.parse(content["config"], str(checkpoint / MODEL_CONFIG))


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
