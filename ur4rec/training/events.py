"""Runs the trainer of a stage: event log, progress lines, and a state to go on from."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from ur4rec.models.tensor_files import DAMAGE, TensorFileError, check_tensors
from ur4rec.progress import report
from ur4rec.stop_signals import finished_first
from ur4rec.storage.writing import writing
from ur4rec.training.resume import ResumePoint
from ur4rec.training.scoring import NUM_BINS, ExpertUsage
from ur4rec.training.trainer import SELECTION_METRIC, VALIDATION_LOSS, StageRecord, Trainer

NOT_A_CURVE = ("epoch", "step")
ALL_STAGES = "all_stages"
"""Each stage is a run of TensorBoard, which draws what goes by one name in all runs into one chart."""
Observe = Callable[[Mapping[str, Any], Sequence[Mapping[str, float]]], None]
"""Called after every epoch with the settings of the stage and the numbers of all its epochs so far."""
COMPARED = ("loss", VALIDATION_LOSS, SELECTION_METRIC, "hit@10", "mrr")


def train_stage(
    trainer: Trainer,
    logs: Path,
    resume: ResumePoint | None = None,
    tell: Callable[[Sequence[Mapping[str, float]]], None] | None = None,
) -> StageRecord:
    """Trains to the end, from where an earlier run was stopped if it left a state.

    Args:
        trainer: Of the stage, at its start.
        logs: Folder that gets the TensorBoard events.
        resume: Where the state is kept while the stage runs, with the events of every epoch so far.
        tell: Called after every epoch with the numbers of all so far.

    Raises:
        CheckpointError: The state left behind is damaged.
        WriteError: The disk is full, say.
    """
    state = resume.load() if resume else None
    if resume and state:
        _restore(trainer, state, resume)
        print(f"resume: {trainer.plan.name} goes on after epoch {trainer.record.epochs}", flush=True)
    events = resume.logs if resume else logs
    purge_step = len(trainer.record.series) if state else None
    with writing(events), _quiet_threads(), SummaryWriter(str(events), purge_step=purge_step) as writer:

        def on_epoch(entry: dict[str, float], usage: ExpertUsage) -> None:
            with finished_first():  # an epoch that is told is kept
                _log_epoch(writer, trainer.plan.name, entry, usage)
                headline = {name: entry[name] for name in ("epoch", "loss", SELECTION_METRIC) if name in entry}
                report(trainer.plan.name, {"epochs": trainer.config.epochs_per_stage, **headline})
                if resume:
                    writer.flush()
                    resume.save(trainer.state_dict())
            if tell:
                tell(trainer.record.series)
            if resume:
                resume.share()

        record = trainer.run(on_epoch)
    if resume:
        shutil.copytree(events, logs)
    return record


@contextmanager
def _quiet_threads() -> Iterator[None]:
    """TensorBoard's thread prints the traceback of what its writer raises here all the same."""
    before = threading.excepthook
    threading.excepthook = lambda failed: None if isinstance(failed.exc_value, OSError) else before(failed)
    try:
        yield
    finally:
        threading.excepthook = before


def _restore(trainer: Trainer, state: dict[str, Any], resume: ResumePoint) -> None:
    try:
        for name in ("weights", "averaged", "best"):
            check_tensors(resume.folder, state[name], trainer.trainable)
        trainer.load_state_dict(state)
    except TensorFileError as error:
        raise resume.refuse(error.fault) from None
    except DAMAGE as error:
        raise resume.refuse(f"is not the state of this stage ({type(error).__name__}: {error})") from None


def _log_epoch(writer: SummaryWriter, stage: str, entry: dict[str, float], usage: ExpertUsage) -> None:
    epoch = int(entry["epoch"])
    for name, value in entry.items():
        if name not in NOT_A_CURVE:
            writer.add_scalar(f"{stage}/{name}", value, epoch)
            if name in COMPARED:
                writer.add_scalar(f"{ALL_STAGES}/{name}", value, epoch)
    limits = torch.linspace(0, 1, NUM_BINS + 1)[1:].tolist()
    for name, weights in usage.distributions().items():
        writer.add_histogram_raw(
            f"{stage}/expert_weight/{name}",
            min=0.0,
            max=1.0,
            num=weights.count,
            sum=weights.total,
            sum_squares=weights.total_squares,
            bucket_limits=limits,
            bucket_counts=weights.bins,
            global_step=epoch,
        )
