"""Judged challenger → the champion, or a notice why not."""

from typing import Any

from kfp import dsl

from components.image import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def promote_model(
    code_digest: str,
    config: dict[str, Any],
    tracking_uri: str,
    registration: dsl.Input[dsl.Artifact],
    decision: dsl.Input[dsl.Artifact],
    promotion: dsl.Output[dsl.Artifact],
    summary: dsl.Output[dsl.Markdown],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Thin wrapper around `ur4rec.registry.champion.retrain.conclude_retrain`."""
    from pathlib import Path

    from ur4rec.registry.champion.retrain import conclude_retrain
    from ur4rec.registry.config import RegistryConfig
    from ur4rec.storage.task_metrics import log_metrics

    outcome = conclude_retrain(
        Path(registration.path),
        Path(decision.path),
        RegistryConfig.parse(config, "registry_config"),
        Path(promotion.path),
        Path(summary.path),
        tracking_uri=tracking_uri or None,
    )
    log_metrics(metrics, outcome.numbers())
