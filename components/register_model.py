"""Evaluated model → a version in the MLflow registry."""

from typing import Any

from kfp import dsl

from components.image import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def register_model(
    code_digest: str,
    config: dict[str, Any],
    tracking_uri: str,
    sequences: dsl.Input[dsl.Dataset],
    checkpoint: dsl.Input[dsl.Model],
    memories: dsl.Input[dsl.Artifact],
    results: dsl.Input[dsl.Artifact],
    report: dsl.Input[dsl.HTML],
    registration: dsl.Output[dsl.Artifact],
    card: dsl.Output[dsl.Markdown],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Thin wrapper around `ur4rec.registry.register.register_model`."""
    from pathlib import Path

    from ur4rec.registry.config import RegistrationConfig
    from ur4rec.registry.register import register_model
    from ur4rec.storage.task_metrics import log_metrics

    version = register_model(
        Path(sequences.path),
        Path(checkpoint.path),
        Path(memories.path),
        Path(results.path),
        Path(report.path),
        RegistrationConfig.parse(config, "registration_config"),
        Path(registration.path),
        tracking_uri=tracking_uri or None,
        card=Path(card.path),
    )
    log_metrics(metrics, {"version": int(version.version)})
