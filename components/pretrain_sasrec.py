"""Stage 1: sequences, and a registered model to start from where one is named → SASRec."""

from typing import Any

from kfp import dsl

from components.image import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def pretrain_sasrec(
    code_digest: str,
    config: dict[str, Any],
    device: str,
    state: str,
    warm_start: str,
    tracking_uri: str,
    sequences: dsl.Input[dsl.Dataset],
    checkpoint: dsl.Output[dsl.Model],
    memories: dsl.Output[dsl.Artifact],
    curves: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Thin wrapper around `ur4rec.training.stage_task.run_stage_task`, which MLflow shows while it trains."""
    from pathlib import Path

    from ur4rec.evaluation.report import write_curves
    from ur4rec.registry.live import track
    from ur4rec.registry.warm_start import open_warm_start
    from ur4rec.storage.task_metrics import log_metrics
    from ur4rec.training.config import StageConfig
    from ur4rec.training.stage_task import run_stage_task

    summary = track(
        run_stage_task,
        "pretrain_sasrec",
        Path(sequences.path),
        Path(checkpoint.path),
        Path(memories.path),
        StageConfig.parse(config, "sasrec_config"),
        device=device,
        state=state,
        warm_start=open_warm_start(warm_start, tracking_uri or None),
    )
    write_curves(Path(checkpoint.path), Path(curves.path))
    log_metrics(metrics, {"epochs": summary.epochs, **summary.validation})
