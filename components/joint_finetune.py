"""Stage 3: SASRec and the retriever, trained in turn."""

from typing import Any

from kfp import dsl

from components.image import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def joint_finetune(
    code_digest: str,
    config: dict[str, Any],
    device: str,
    state: str,
    sequences: dsl.Input[dsl.Dataset],
    embeddings: dsl.Input[dsl.Dataset],
    previous_checkpoint: dsl.Input[dsl.Model],
    previous_memories: dsl.Input[dsl.Artifact],
    checkpoint: dsl.Output[dsl.Model],
    memories: dsl.Output[dsl.Artifact],
    curves: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Thin wrapper around `ur4rec.training.stage_task.run_stage_task`, which MLflow shows while it trains."""
    from pathlib import Path

    from ur4rec.evaluation.report import write_curves
    from ur4rec.registry.live import track
    from ur4rec.storage.task_metrics import log_metrics
    from ur4rec.training.config import StageConfig
    from ur4rec.training.stage_task import run_stage_task

    summary = track(
        run_stage_task,
        "joint_finetune",
        Path(sequences.path),
        Path(checkpoint.path),
        Path(memories.path),
        StageConfig.parse(config, "joint_config"),
        embeddings=Path(embeddings.path),
        previous_checkpoint=Path(previous_checkpoint.path),
        previous_memories=Path(previous_memories.path),
        device=device,
        state=state,
    )
    write_curves(Path(checkpoint.path), Path(curves.path))
    log_metrics(metrics, {"epochs": summary.epochs, **summary.validation})
