"""The training stages, each from artifact folders to artifact folders."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ur4rec.auto.settle import settle
from ur4rec.config_section import ConfigSection
from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.memory_limits import naming_settings
from ur4rec.models.config import ModelConfig, Part
from ur4rec.models.tensor_files import write_tensors
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.storage.artifacts import MANIFEST, ArtifactError, read_artifact, sha256_file, write_artifact
from ur4rec.storage.code_digest import code_digest
from ur4rec.text.embeddings import TextEmbeddings, check_embeddings, load_embeddings
from ur4rec.training.checkpoints import (
    FINAL_MEMORIES,
    FINAL_MODEL,
    HISTORY,
    RETRIEVER,
    SASREC,
    WARM_START,
    CheckpointError,
    Origin,
    best_file,
    check_dataset,
    list_held,
    memories_file,
    read_raw_history,
    read_shape,
    resolve_device,
    write_model_config,
)
from ur4rec.training.config import READ_BY, StageConfig
from ur4rec.training.config import stages_of as stages_of
from ur4rec.training.events import Observe, train_stage
from ur4rec.training.rank_processes import start_ranks
from ur4rec.training.ranks import Ranks
from ur4rec.training.resume import ResumePoint, open_resume_point
from ur4rec.training.scoring import ModelScorer
from ur4rec.training.stage_names import Stage
from ur4rec.training.start import Previous, begin, control_text
from ur4rec.training.trainer import StagePlan, StageRecord, Trainer, deterministic
from ur4rec.training.warm_start import SHAPE, WarmStart, WarmStartError, check_warm_start, shape_of

FUSION = ("fusion.gate", "fusion.log_weights")
KEY = "key"
"""Name, among a checkpoint's details, of the digest of all that shaped it."""


PLANS: Mapping[str, StagePlan] = {
    plan.name: plan
    for plan in (
        StagePlan(Stage.PRETRAIN_SASREC.value, Part.SASREC, SASREC),
        StagePlan(Stage.PRETRAIN_RETRIEVER.value, Part.RETRIEVER, RETRIEVER),
        StagePlan(
            Stage.JOINT_FINETUNE.value,
            Part.FUSED,
            ("sasrec.", "retriever."),
            alternate=True,
            finetune=True,
            calibrate=True,
        ),
        StagePlan(Stage.END_TO_END.value, Part.FUSED, ("sasrec.", "retriever.", *FUSION), finetune=True),
    )
}
RETRIEVER_PLANS: Mapping[str, StagePlan] = {
    Stage.PRETRAIN_RETRIEVER.value: PLANS[Stage.PRETRAIN_RETRIEVER],
    Stage.END_TO_END.value: StagePlan(Stage.END_TO_END.value, Part.RETRIEVER, RETRIEVER, finetune=True),
}
"""Plans of a system whose whole score is the retriever's: there is no SASRec to train first, and nothing to fuse."""


def plans_of(config: ModelConfig) -> Mapping[str, StagePlan]:
    """The stages of the configured system, in order, and what each trains."""
    return RETRIEVER_PLANS if config.whole is Part.RETRIEVER else PLANS


@naming_settings("batch_size", "max_seq_len")
def run_stage(
    stage: str,
    sequences: Path,
    checkpoint: Path,
    memories: Path,
    config: StageConfig,
    embeddings: Path | None = None,
    previous_checkpoint: Path | None = None,
    previous_memories: Path | None = None,
    device: str = "auto",
    state: Path | str | None = None,
    resume: bool = False,
    warm_start: WarmStart | None = None,
    observe: Observe | None = None,
    processes: int = 1,
) -> StageRecord:
    """Trains one stage.

    Args:
        stage: One of those that `stages_of` names.
        sequences: Folder of `preprocess_sequences`.
        checkpoint: Folder to write: best weights of this and earlier stages, `model_config.json`, `history.json`,
            TensorBoard `logs/`.
        memories: Folder to write: memories replayed over the training prefix.
        config: Model and training; what `READ_BY` does not list for the stage is left aside, so it changes nothing.
        embeddings: Folder of `encode_text`; read by `pretrain_retriever`.
        previous_checkpoint: What the stage before wrote; none for the system's first.
        previous_memories: Beside it; verified, then rebuilt with the new weights.
        device: `auto`, `cpu` or `cuda`.
        state: Folder, or `gs://` or `s3://bucket/prefix`, where the state of the unfinished stage is kept, epoch by
            epoch; None keeps nothing.
        resume: Whether to go on from that state, and to leave alone what is finished; the result is the same.
        warm_start: Trained model that `pretrain_sasrec` begins with; None: from scratch.
        observe: Called after every epoch; must return at once, and raise nothing.
        processes: That train together on this machine, each a share of every batch. It changes the result by no more
            than the order of additions does, so a state can be gone on from with another number.

    Raises:
        LostRankError: One of them has died, hangs or has failed; names it.
        WarmStartError: That model does not fit the configuration, or was trained on what it is to be measured by.
        CheckpointError: The system has no such stage, an input that the stage needs is missing, the previous
            checkpoint is of another shape or other sequences, or the state is damaged.
        ArtifactError: An input is missing or altered, or the embeddings are of other sequences.
        StoreError: The state cannot be read.
        OutOfMemoryError: Names the settings to lower.
        WriteError: The disk is full, say.
    """
    previous = _check(stage, config, embeddings, previous_checkpoint)
    data = load_sequences(sequences)
    if embeddings is not None:
        check_embeddings(embeddings, data)
    if previous_checkpoint is not None:
        check_dataset(previous_checkpoint, sequences)
    settings = settle(config.narrow(READ_BY[stage]), data, stage, _inherit(warm_start, previous_checkpoint))
    config = StageConfig.model_validate(dict(settings))
    origin = _check_origin(stage, warm_start, data, sequences, config)
    given = {"embeddings": embeddings, "checkpoint": previous_checkpoint, "memories": previous_memories}
    inputs = {"sequences": sequences, **{name: path for name, path in given.items() if path is not None}}
    key = _digest(stage, settings, inputs, device, origin)
    if resume and (summary := _finished(checkpoint, memories, key)):
        print(f"resume: {stage} is finished, {summary.epochs} epochs", flush=True)
        return summary
    with open_resume_point(state, stage, key, settings.to_dict()) as point:
        if resume:
            _say_what_is_ignored(stage, settings, key, checkpoint, point)
        elif point:
            point.clear()
        started = time.perf_counter()
        where = resolve_device(device)
        task = {"stage": stage, "sequences": sequences, "config": config.to_dict(), "device": where.type}
        task |= {"embeddings": embeddings, "previous_checkpoint": previous_checkpoint}
        with (
            start_ranks(processes, where, task) as ranks,
            write_artifact(checkpoint, stage, settings, inputs) as writer,
            deterministic(config.seed),
        ):
            trainer = _make_trainer(stage, data, config, previous, embeddings, where, ranks, warm_start)
            model = trainer.model
            history = _copy_previous(previous_checkpoint, writer.folder, origin)
            prepared_s = time.perf_counter() - started
            tell = observe and partial(observe, settings.to_dict())
            record = train_stage(trainer, writer.folder / "logs" / stage, point, tell)
            record.seconds = round(prepared_s + record.seconds, 3)
            held = {name: value for name, value in model.state_dict().items() if name.startswith(list_held(stage))}
            weights = {name: value.cpu() for name, value in held.items()}  # any machine can read these
            with (writer.folder / best_file(stage)).open("wb") as file:
                write_tensors(file, weights)
            if stage == Stage.END_TO_END:
                shutil.copyfile(writer.folder / best_file(stage), writer.folder / FINAL_MODEL)
            write_model_config(writer.folder, model, data.digest)
            history["stages"].append(asdict(record))
            (writer.folder / HISTORY).write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")
            writer.details |= {"validation": record.validation, "epochs": record.epochs, KEY: key}
            writer.details |= {name: value for name, value in history.items() if name == WARM_START}
        _write_memories(model, data, stage, memories, settings, checkpoint)
        if point:
            point.finish()
    return record


def train_along(
    stage: str,
    sequences: Path,
    config: StageConfig,
    embeddings: Path | None,
    previous_checkpoint: Path | None,
    device: torch.device,
    ranks: Ranks,
) -> None:
    """Trains a stage as another rank than the first: nothing is written; all are told what the first begins with.

    Args:
        stage: As `run_stage` has it, and so are the folders.
        sequences: Folder of `preprocess_sequences`.
        config: The settings, with what the first rank has settled.
        embeddings: Folder of `encode_text`.
        previous_checkpoint: What the stage before wrote.
        device: Of this rank.
        ranks: All of them.
    """
    previous = _check(stage, config, embeddings, previous_checkpoint)
    with deterministic(config.seed):
        trainer = _make_trainer(stage, load_sequences(sequences), config, previous, embeddings, device, ranks)
        trainer.run(lambda entry, usage: None)


def _make_trainer(
    stage: str,
    data: Sequences,
    config: StageConfig,
    previous: Previous | None,
    embeddings: Path | None,
    device: torch.device,
    ranks: Ranks,
    warm_start: WarmStart | None = None,
) -> Trainer:
    text = _load_text(embeddings, data, config) if stage == Stage.PRETRAIN_RETRIEVER else None
    model = begin(stage, data, config.narrow(ModelConfig), config.seed, previous, text, warm_start).to(device)
    return Trainer(model, data.histories("validation"), data.val, plans_of(config)[stage], config, ranks)


def _digest(stage: str, settings: ConfigSection, inputs: Mapping[str, Path], device: str, origin: Origin | None) -> str:
    """Returns a digest of all that a stage reads, and of the code; equal ones mean equal results."""
    key = {
        "stage": stage,
        "config": settings.to_dict(),
        "inputs": {name: read_artifact(path).content_digest for name, path in inputs.items()},
        "warm_start": origin and origin.digest,
        "device": resolve_device(device).type,
        "code": code_digest(__name__),
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


def _finished(checkpoint: Path, memories: Path, key: str) -> StageRecord | None:
    """Returns what an earlier run with the same key has left; None where that is nothing, or only a part."""
    try:
        details, made_from = read_artifact(checkpoint).details, read_artifact(memories).inputs
    except ArtifactError:
        return None
    if details.get(KEY) != key or made_from["checkpoint"] != sha256_file(checkpoint / MANIFEST):
        return None
    return StageRecord(**read_raw_history(checkpoint)["stages"][-1])


def _say_what_is_ignored(
    stage: str, settings: ConfigSection, key: str, checkpoint: Path, point: ResumePoint | None
) -> None:
    kept = (point.find_other() if point else None) or _other_result(checkpoint, key)
    if kept is None or (point and point.has_state()):
        return
    names = sorted(name for name, value in settings.to_dict().items() if kept.get(name) != value)
    reason = f"has other settings ({', '.join(names)})" if names else "has other inputs, another device or other code"
    print(f"resume: {stage} starts from scratch: what an earlier run left {reason}", flush=True)


def _other_result(checkpoint: Path, key: str) -> dict[str, Any] | None:
    """Settings of a finished stage with another key; None where there is none."""
    try:
        manifest = read_artifact(checkpoint)
    except ArtifactError:
        return None
    return None if manifest.details.get(KEY) == key else manifest.config


def _check(stage: str, config: ModelConfig, embeddings: Path | None, checkpoint: Path | None) -> Previous | None:
    stages = stages_of(config)
    if stage not in stages:
        raise CheckpointError(f"stage {stage}: expected a stage of system {config.system}: {', '.join(stages)}")
    place = stages.index(stage)
    if (checkpoint is None) != (place == 0):
        expected = f"the checkpoint of {stages[place - 1]}" if place else "no checkpoint"
        raise CheckpointError(f"stage {stage}: expected {expected} to begin with")
    if stage == Stage.PRETRAIN_RETRIEVER and embeddings is None:
        raise CheckpointError(f"stage {stage}: expected text embeddings; make them with `ur4rec text encode`")
    if checkpoint is None:
        return None
    if (rule := read_shape(checkpoint).seen_items) != config.seen_items:
        raise CheckpointError(
            f"stage {stage}: seen_items: is {config.seen_items}, but {checkpoint} was trained with {rule}; "
            "use the configuration of the stages before, or train them again"
        )
    return Previous(checkpoint, stages[place - 1])


def _inherit(warm_start: WarmStart | None, previous: Path | None) -> dict[str, Any]:
    """Returns the shape that the data cannot decide any more: it came with a warm start, perhaps stages before."""
    if previous is None:
        return shape_of(warm_start)
    shape = read_shape(previous)
    return {name: getattr(shape, name) for name in SHAPE}


def _check_origin(
    stage: str, warm_start: WarmStart | None, data: Sequences, sequences: Path, config: ModelConfig
) -> Origin | None:
    if warm_start is None:
        return None
    if stage != Stage.PRETRAIN_SASREC:
        raise WarmStartError(
            f"stage {stage}: cannot start from {warm_start.name}, only {Stage.PRETRAIN_SASREC} can; "
            "leave warm_start empty, or train a system with SASRec"
        )
    by_time = read_artifact(sequences).config.get("split") == "time"
    check_warm_start(warm_start, data, config, by_time)
    origin = warm_start.describe(data)
    print(f"warm start: {origin.name}, {origin.num_items:,} of {data.num_items:,} items carried over", flush=True)
    return origin


def _load_text(embeddings: Path | None, data: Sequences, config: StageConfig) -> TextEmbeddings | None:
    assert embeddings is not None
    return control_text(load_embeddings(embeddings, data), config.text_control, config.seed)


def _copy_previous(previous: Path | None, folder: Path, origin: Origin | None) -> dict[str, Any]:
    if previous is None:
        return ({} if origin is None else {WARM_START: asdict(origin)}) | {"stages": []}
    for path in previous.glob("*_best.pt"):
        shutil.copyfile(path, folder / path.name)
    shutil.copytree(previous / "logs", folder / "logs")
    return read_raw_history(previous)


def _write_memories(
    model: UR4RecV2MoE, data: Sequences, stage: str, path: Path, settings: ConfigSection, checkpoint: Path
) -> None:
    with write_artifact(path, f"{stage}_memories", settings, {"checkpoint": checkpoint}) as writer:
        if stage != Stage.PRETRAIN_SASREC:  # the memory begins with the retriever
            ModelScorer(model, data.histories("validation"))
        model.save_memories(writer.folder / memories_file(stage))
        if stage == Stage.END_TO_END:
            model.save_memories(writer.folder / FINAL_MEMORIES)
        writer.details |= model.get_memory_stats()
