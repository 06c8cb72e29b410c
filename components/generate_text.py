"""Sequences → texts of items and users."""

from typing import Any

from kfp import dsl

from components.image import SLIM


@dsl.component(base_image=SLIM, install_kfp_package=False)
def generate_text(
    item_text: str,
    user_text: str,
    text_digest: str,
    code_digest: str,
    config: dict[str, Any],
    asked: list[str],
    sequences: dsl.Input[dsl.Dataset],
    texts: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Thin wrapper around `ur4rec.text.generate.generate_text`."""
    from pathlib import Path

    from ur4rec.storage.task_metrics import log_metrics
    from ur4rec.text.config import WritingConfig
    from ur4rec.text.generate import generate_text

    manifest = generate_text(
        Path(sequences.path),
        Path(texts.path),
        WritingConfig.parse(config, "writing_config"),
        item_text=item_text,
        user_text=user_text,
        asked=asked,
        text_digest=text_digest,
    )
    log_metrics(metrics, {name: manifest.details[name]["total"] for name in ("items", "users", "snapshots")})
