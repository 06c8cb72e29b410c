"""Trains the first stage as a task of the pipeline does, slowly, in a process of its own.

Arguments: sequences, checkpoint, memories, state, seconds of a step.
"""

import sys
import time
from pathlib import Path
from typing import Any

from ur4rec.config import load_config
from ur4rec.training.config import StageConfig
from ur4rec.training.stages import run_stage
from ur4rec.training.trainer import Trainer

SETTINGS = {"epochs_per_stage": 12, "patience": 12, "batch_size": 16, "sasrec_hidden_dim": 8}


def main(sequences: str, checkpoint: str, memories: str, state: str, step_s: str) -> None:
    steps = Trainer._train_step

    def dawdle(self: Trainer, *arguments: Any) -> float:
        time.sleep(float(step_s))
        return steps(self, *arguments)

    Trainer._train_step = dawdle  # type: ignore[method-assign]
    config = load_config("toy", SETTINGS).narrow(StageConfig)
    arguments = "pretrain_sasrec", Path(sequences), Path(checkpoint), Path(memories), config
    run_stage(*arguments, device="cpu", state=state, resume=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
