"""Trains our own first stage, or all four, in a process of its own: `python -m benchmarks.peer_ours SPLIT RUN SETTING`.

The stages run through `run_stage` as in the pipeline. Validations are observed from outside: the observer notes the
score that the trainer computed, and the clock.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks.peer_exchange import METRIC, Recorder, Split
from ur4rec.config import load_config
from ur4rec.data.sequences import Histories
from ur4rec.training.checkpoints import load_model
from ur4rec.training.config import StageConfig
from ur4rec.training.scoring import ModelScorer
from ur4rec.training.stage_names import STAGES
from ur4rec.training.stages import run_stage
from ur4rec.training.trainer import Trainer

PACKAGES = ("ur4rec", "torch", "numpy", "scipy", "pandas")


def observe(recorder: Recorder, counted: tuple[str, ...]) -> None:
    """Lets the recorder note every validation; those of the `counted` stages are the system's own score."""
    validate = Trainer.validate
    epochs = 0

    def observed(trainer: Trainer, scorer: ModelScorer) -> dict[str, float]:
        nonlocal epochs
        began = time.perf_counter()
        metrics = validate(trainer, scorer)
        epochs += trainer.step > 0  # the first validation of a stage comes before its first step
        recorder.observe(epochs, metrics[METRIC], time.perf_counter() - began, trainer.plan.name in counted)
        return metrics

    Trainer.validate = observed  # type: ignore[method-assign, assignment]


def main() -> None:
    """Trains and writes the run."""
    split_path, run_path, setting = sys.argv[1:]
    values = json.loads(setting)
    sequences, embeddings, config_path = (Path(values.pop(name)) for name in ("sequences", "embeddings", "config"))
    stages = STAGES[: values.pop("stages")]
    config = load_config(config_path, values).narrow(StageConfig)
    recorder = Recorder(Split.load(Path(split_path)), "UR4Rec")
    observe(recorder, counted=stages if len(stages) == 1 else STAGES[2:])
    recorder.start()
    checkpoint = memories = None
    for stage in stages:
        folder = Path(stage)
        run_stage(
            stage,
            sequences,
            folder / "checkpoint",
            folder / "memories",
            config,
            embeddings=embeddings if checkpoint else None,
            previous_checkpoint=checkpoint,
            previous_memories=memories,
            device="cpu",
        )
        checkpoint, memories = folder / "checkpoint", folder / "memories"
    assert checkpoint is not None
    model = load_model(checkpoint)

    def scorer(histories: Histories) -> ModelScorer:
        return ModelScorer(model, histories, "sasrec") if len(stages) == 1 else ModelScorer(model, histories)

    recorder.finish(scorer, PACKAGES).save(Path(run_path))


if __name__ == "__main__":
    main()
