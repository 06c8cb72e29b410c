"""Raw interactions → sequences."""

from typing import Any

from kfp import dsl

from components.image import SLIM


@dsl.component(base_image=SLIM, install_kfp_package=False)
def preprocess_sequences(
    interactions: str,
    items: str,
    data_digest: str,
    code_digest: str,
    config: dict[str, Any],
    sequences: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Thin wrapper around `ur4rec.data.preprocess.preprocess_sequences`."""
    from pathlib import Path

    from ur4rec.data.config import DataConfig
    from ur4rec.data.preprocess import preprocess_sequences
    from ur4rec.storage.task_metrics import log_metrics

    manifest = preprocess_sequences(
        interactions,
        Path(sequences.path),
        DataConfig.parse(config, "data_config"),
        items=items or None,
        data_digest=data_digest,
        describes=True,
    )
    counts = ("num_users", "num_items", "num_interactions")
    log_metrics(metrics, {name: manifest.details[name] for name in counts})
