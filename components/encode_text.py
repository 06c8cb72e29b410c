"""Texts → embeddings."""

from typing import Any

from kfp import dsl

from components.image import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def encode_text(
    code_digest: str,
    config: dict[str, Any],
    device: str,
    sequences: dsl.Input[dsl.Dataset],
    texts: dsl.Input[dsl.Artifact],
    embeddings: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Thin wrapper around `ur4rec.text.encode.encode_text`."""
    from pathlib import Path

    from ur4rec.storage.task_metrics import log_metrics
    from ur4rec.text.config import EncodeConfig
    from ur4rec.text.encode import encode_text

    manifest = encode_text(
        Path(sequences.path),
        Path(texts.path),
        Path(embeddings.path),
        EncodeConfig.parse(config, "encode_config"),
        device=device,
    )
    log_metrics(metrics, {name: manifest.details[name] for name in ("items", "snapshots", "sentences")})
