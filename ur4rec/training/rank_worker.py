"""A process that trains a stage with the first rank: `python -m ur4rec.training.rank_worker < task.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from ur4rec.training.config import StageConfig
from ur4rec.training.ranks import ConnectedRanks
from ur4rec.training.stages import train_along


def work(meeting: dict[str, Any], task: dict[str, Any]) -> None:
    """Trains along until the first rank is done, or has gone.

    Args:
        meeting: Where the ranks meet: `rank, size, port, timeout_s`.
        task: Arguments of `train_along`: paths as text, the settings as a dictionary, the `device`'s type.
    """
    device = torch.device(task.pop("device"))
    if device.type == "cuda":
        device = torch.device("cuda", meeting["rank"] % torch.cuda.device_count())
        torch.cuda.set_device(device)
    ranks = ConnectedRanks(**meeting, device=device)
    config = StageConfig.model_validate(task.pop("config"))
    paths = {name: None if task[name] is None else Path(task[name]) for name in ("embeddings", "previous_checkpoint")}
    train_along(task["stage"], Path(task["sequences"]), config, **paths, device=device, ranks=ranks)
    ranks.stop()


if __name__ == "__main__":
    work(**json.load(sys.stdin))
