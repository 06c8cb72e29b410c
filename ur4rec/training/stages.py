"""The four training stages, each from artifact folders to artifact folders."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from scipy.sparse import csr_array
from torch.utils.tensorboard import SummaryWriter

from ur4rec.columns import ITEM
from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.models.cooccurrence import CooccurrenceConfig
from ur4rec.models.ur4rec_v2_moe import ModelConfig, Part, System, UR4RecV2MoE
from ur4rec.progress import report
from ur4rec.storage.artifacts import write_artifact
from ur4rec.text.embeddings import TextEmbeddings, load_embeddings
from ur4rec.training.checkpoints import (
    FINAL_MEMORIES,
    FINAL_MODEL,
    HISTORY,
    CheckpointError,
    best_file,
    load_state,
    memories_file,
    resolve_device,
    write_model_config,
)
from ur4rec.training.cooccurrence import count_pairs, fit_table, item_factors
from ur4rec.training.loop import StagePlan, StageRecord, Trainer, TrainingConfig, deterministic
from ur4rec.training.scoring import ModelScorer
from ur4rec.training.stage_names import STAGES
from ur4rec.training.text_controls import TextControl, control_text

SASREC = ("sasrec.", "fusion.sasrec_log_temperature")
RETRIEVER = ("retriever.", "fusion.retriever_log_temperature")
FUSION = ("fusion.gate", "fusion.log_weights")
PLANS = {
    plan.name: plan
    for plan in (
        StagePlan("pretrain_sasrec", Part.SASREC, SASREC),
        StagePlan("pretrain_retriever", Part.RETRIEVER, RETRIEVER),
        StagePlan(
            "joint_finetune", Part.FUSED, ("sasrec.", "retriever."), alternate=True, finetune=True, calibrate=True
        ),
        StagePlan("end_to_end", Part.FUSED, ("sasrec.", "retriever.", *FUSION), finetune=True),
    )
}


class StageConfig(ModelConfig, TrainingConfig):
    """Everything a stage reads."""

    text_control: TextControl = TextControl.NONE
    """What the retriever is given instead of the texts' meaning; read by the second stage."""


@dataclass(frozen=True)
class StageSummary:
    """What a stage came to."""

    stage: str
    epochs: int
    best_epoch: int
    seconds: float
    validation: dict[str, float]


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
) -> StageSummary:
    """Trains one stage.

    Args:
        stage: One of `STAGES`.
        sequences: Folder of `preprocess_sequences`.
        checkpoint: Folder to write: best weights of this and earlier stages, `model_config.json`, `history.json`,
            TensorBoard `logs/`.
        memories: Folder to write: memories replayed over the training prefix.
        config: Model and training.
        embeddings: Folder of `encode_text`; the first stage reads no text.
        previous_checkpoint: What the stage before wrote; none for the first.
        previous_memories: Beside it; verified, then rebuilt with the new weights.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        CheckpointError: The stage is unknown or an input it needs is missing.
    """
    plan = _plan(stage, previous_checkpoint)
    if config.system is System.MOE_MEMORY:
        raise CheckpointError(f"system {config.system}: has no SASRec to train; expected UR4RecV2MoE or UR4RecV2")
    data = load_sequences(sequences)
    given = {"embeddings": embeddings, "checkpoint": previous_checkpoint, "memories": previous_memories}
    inputs = {"sequences": sequences, **{name: path for name, path in given.items() if path is not None}}
    started = time.perf_counter()
    with write_artifact(checkpoint, stage, config, inputs) as writer, deterministic(config.seed):
        model = _begin(data, config, embeddings, previous_checkpoint, stage).to(resolve_device(device))
        history = _copy_previous(previous_checkpoint, writer.folder)
        record = _train(model, data, plan, config, writer.folder / "logs" / stage)
        record.seconds = round(time.perf_counter() - started, 3)
        torch.save(model.state_dict(), writer.folder / best_file(stage))
        if stage == STAGES[-1]:
            shutil.copyfile(writer.folder / best_file(stage), writer.folder / FINAL_MODEL)
        write_model_config(writer.folder, model)
        history["stages"].append(asdict(record))
        (writer.folder / HISTORY).write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")
        writer.details |= {"validation": record.validation, "epochs": record.epochs}
    _write_memories(model, data, stage, memories, config, checkpoint)
    return StageSummary(stage, record.epochs, record.best_epoch, record.seconds, record.validation)


def _plan(stage: str, previous_checkpoint: Path | None) -> StagePlan:
    if stage not in PLANS:
        raise CheckpointError(f"stage {stage!r}: expected one of {', '.join(STAGES)}")
    if (previous_checkpoint is None) != (stage == STAGES[0]):
        expected = "no checkpoint" if stage == STAGES[0] else "the checkpoint of the stage before"
        raise CheckpointError(f"stage {stage}: expected {expected} to begin with")
    return PLANS[stage]


def _begin(
    data: Sequences, config: StageConfig, embeddings: Path | None, previous: Path | None, stage: str
) -> UR4RecV2MoE:
    model = UR4RecV2MoE(data.num_items, data.num_users, config.narrow(ModelConfig))
    if stage == STAGES[3]:
        assert previous is not None
        _take(model, previous, STAGES[2])
        return model
    counts = count_pairs(data.histories("validation"), data.num_items, config.narrow(CooccurrenceConfig))
    _add_statistics(model, data, counts, config)
    if previous is None:
        _start_sasrec(model, counts, config)
    elif stage == STAGES[1]:
        _take(model, previous, STAGES[0], SASREC)
        _start_retriever(model)
        assert embeddings is not None
        _add_text(model, control_text(load_embeddings(embeddings), config.text_control, config.seed), data.num_users)
    else:
        _take(model, previous, STAGES[1], (*SASREC, *RETRIEVER))
    return model


def _take(model: UR4RecV2MoE, previous: Path, stage: str, prefixes: tuple[str, ...] = ("",)) -> None:
    """Weights of the stage before, as far as they begin with a prefix; the rest begins here."""
    state = {name: value for name, value in load_state(previous, stage).items() if name.startswith(prefixes)}
    wanted = {name for name in model.state_dict() if name.startswith(prefixes)}
    differing = sorted(wanted ^ state.keys())
    try:
        model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        differing = str(error).splitlines()[1:]
    if differing:
        raise CheckpointError(
            f"{previous / best_file(stage)}: {differing[0].strip()}: is not of the configured shape; "
            "use the configuration of the stages before, or train them again"
        )


def _add_text(model: UR4RecV2MoE, text: TextEmbeddings, num_users: int) -> None:
    arrays = text.item_descriptions, text.sentences, text.offsets, text.snapshots
    tensors = [torch.from_numpy(array.copy()) for array in arrays]
    model.retriever.encoder.text.fill(tensors[0], tensors[1], tensors[2], tensors[3], num_users)


@torch.no_grad()
def _add_statistics(model: UR4RecV2MoE, data: Sequences, counts: csr_array, config: StageConfig) -> None:
    """What is counted, not trained: neighbours, and which items training knows."""
    if model.cooccurrence is not None:
        model.cooccurrence.fill(fit_table(counts, config.narrow(CooccurrenceConfig)))
    trained = torch.zeros(data.num_items + 1, dtype=torch.bool)
    trained[torch.from_numpy(data.train[:, ITEM].copy())] = True
    model.retriever.encoder.get_buffer("is_trained").copy_(trained)


def _start_sasrec(model: UR4RecV2MoE, counts: csr_array, config: StageConfig) -> None:
    assert model.sasrec is not None
    width = max(config.sasrec_item_factors, config.sasrec_hidden_dim)
    model.sasrec.start_from(torch.from_numpy(item_factors(counts, width, config.seed)))


@torch.no_grad()
def _start_retriever(model: UR4RecV2MoE) -> None:
    """The retriever begins with what SASRec knows about the items."""
    assert model.sasrec is not None
    learned, target = model.sasrec.item_vectors(), model.retriever.encoder.item_embedding.weight
    if learned.shape == target.shape:
        target.copy_(learned)


def _copy_previous(previous: Path | None, folder: Path) -> dict[str, list[dict[str, object]]]:
    if previous is None:
        return {"stages": []}
    for path in previous.glob("*_best.pt"):
        shutil.copyfile(path, folder / path.name)
    shutil.copytree(previous / "logs", folder / "logs")
    history: dict[str, list[dict[str, object]]] = json.loads((previous / HISTORY).read_text(encoding="utf-8"))
    return history


def _train(model: UR4RecV2MoE, data: Sequences, plan: StagePlan, config: StageConfig, logs: Path) -> StageRecord:
    training = config.narrow(TrainingConfig)
    with SummaryWriter(str(logs)) as writer:

        def on_epoch(entry: dict[str, float]) -> None:
            for name, value in entry.items():
                writer.add_scalar(f"{plan.name}/{name}", value, int(entry["epoch"]))
            report(plan.name, {"epochs": config.epochs_per_stage, **_headline(entry)})

        return Trainer(model, data.histories("validation"), data.val, plan, training).run(on_epoch)


def _headline(entry: dict[str, float]) -> dict[str, float]:
    return {name: entry[name] for name in ("epoch", "loss", "ndcg@10") if name in entry}


def _write_memories(
    model: UR4RecV2MoE, data: Sequences, stage: str, path: Path, config: StageConfig, checkpoint: Path
) -> None:
    with write_artifact(path, f"{stage}_memories", config, {"checkpoint": checkpoint}) as writer:
        if stage != STAGES[0]:  # the memory begins with the second stage
            ModelScorer(model, data.histories("validation"))
        model.save_memories(writer.folder / memories_file(stage))
        if stage == STAGES[-1]:
            model.save_memories(writer.folder / FINAL_MEMORIES)
        writer.details |= model.get_memory_stats()
