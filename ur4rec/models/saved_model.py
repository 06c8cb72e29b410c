"""What a folder of a trained model says of its shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MODEL_CONFIG = "model_config.json"
FINAL_MODEL = "final_model.pt"
FINAL_MEMORIES = "final_memories.pt"
MEND = "copy the file anew from where it is whole, or train again"


class CheckpointError(ValueError):
    """A checkpoint folder that does not hold what was asked for."""


def read_model_config(folder: Path) -> dict[str, Any]:
    """Returns `num_items`, `num_users` and `config`, the settings that shape a model, from its folder.

    Raises:
        CheckpointError: The file is missing or damaged, or a key is missing or wrong; names both.
    """
    path = folder / MODEL_CONFIG
    if not path.is_file():
        raise CheckpointError(f"{path}: not found; expected the folder that a training stage wrote")
    content = read_json(path)
    kinds: dict[str, type] = {"num_items": int, "num_users": int, "config": dict}
    if missing := [name for name in kinds if name not in content]:
        raise CheckpointError(f"{path}: {missing[0]}: missing; {MEND}")
    for name, kind in kinds.items():
        if type(content[name]) is not kind or (kind is int and content[name] < 1):
            what = "a number from 1 on" if kind is int else "keys and values"
            raise CheckpointError(f"{path}: {name}: expected {what}, found {content[name]!r:.40}; {MEND}")
    return content


def read_json(path: Path) -> dict[str, Any]:
    """Returns the keys and values of a file beside the weights.

    Raises:
        CheckpointError: It is damaged; names it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged or cut short, not JSON ({error}); {MEND}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected keys and values, found {type(content).__name__}; {MEND}")
    return content
