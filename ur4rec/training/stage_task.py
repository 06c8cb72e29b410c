"""A stage as a task of the pipeline, which has one for every stage: those that a system lacks are passed over."""

from __future__ import annotations

from pathlib import Path

from ur4rec.models.config import SystemConfig
from ur4rec.storage.artifacts import write_artifact
from ur4rec.storage.folders import publish_folder
from ur4rec.training.checkpoints import resolve_device
from ur4rec.training.config import StageConfig, stages_of
from ur4rec.training.events import Observe
from ur4rec.training.rank_processes import count_processes
from ur4rec.training.stages import run_stage
from ur4rec.training.trainer import StageRecord
from ur4rec.training.warm_start import WarmStart

PASSED = "passed over"
"""Producer of a folder that holds nothing: the system has neither this stage nor one before it."""


def run_stage_task(
    stage: str,
    sequences: Path,
    checkpoint: Path,
    memories: Path,
    config: StageConfig,
    embeddings: Path | None = None,
    previous_checkpoint: Path | None = None,
    previous_memories: Path | None = None,
    device: str = "auto",
    state: str = "",
    warm_start: WarmStart | None = None,
    observe: Observe | None = None,
) -> StageRecord:
    """Train a stage as `run_stage` does, or hand on what the stage before left where the system has no such stage.

    All systems go through the same tasks in this way, and each task is cached by itself. What is handed on is equal
    byte by byte, so that the next stage begins as it does without the tasks between. The first stage of a system leaves
    aside what comes before it. A task with several GPUs trains with a process on each.

    Raises:
        ValueError: Typed, as `run_stage` raises it.
    """
    stages = stages_of(config)
    if stage not in stages:
        print(f"{stage}: {config.system} has no such stage; what came before is handed on", flush=True)
        _hand_on(previous_checkpoint, checkpoint, config)
        _hand_on(previous_memories, memories, config)
        return StageRecord(stage)
    is_first = stage == stages[0]
    return run_stage(
        stage,
        sequences,
        checkpoint,
        memories,
        config,
        embeddings=embeddings,
        previous_checkpoint=None if is_first else previous_checkpoint,
        previous_memories=None if is_first else previous_memories,
        device=device,
        state=state or None,
        resume=True,
        warm_start=warm_start,
        observe=observe,
        processes=count_processes(resolve_device(device)),
    )


def _hand_on(source: Path | None, target: Path, config: StageConfig) -> None:
    if source is not None:
        publish_folder(source, target)
        return
    with write_artifact(target, PASSED, config.narrow(SystemConfig)):
        pass
