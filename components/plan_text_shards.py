"""Sequences → which tasks ask a language model for their texts."""

from typing import Any

from kfp import dsl

from components.image import SLIM


@dsl.component(base_image=SLIM, install_kfp_package=False)
def plan_text_shards(
    max_shards: int,
    code_digest: str,
    config: dict[str, Any],
    sequences: dsl.Input[dsl.Dataset],
) -> list[str]:
    """Thin wrapper around `ur4rec.text.shards.plan_shards`."""
    from pathlib import Path

    from ur4rec.text.config import ShardsConfig
    from ur4rec.text.shards import plan_shards

    return plan_shards(Path(sequences.path), ShardsConfig.parse(config, "shards_config"), max_shards)
