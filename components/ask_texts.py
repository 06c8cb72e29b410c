"""One shard of the texts: asked of a language model, the answers left in the cache."""

from typing import Any

from kfp import dsl

from components.image import SLIM


@dsl.component(base_image=SLIM, install_kfp_package=False)
def ask_texts(
    shard: str,
    item_text: str,
    user_text: str,
    text_digest: str,
    code_digest: str,
    config: dict[str, Any],
    sequences: dsl.Input[dsl.Dataset],
) -> str:
    """Thin wrapper around `ur4rec.text.shards.ask_shard`."""
    from pathlib import Path

    from ur4rec.text.config import WritingConfig
    from ur4rec.text.shards import ask_shard

    return ask_shard(
        Path(sequences.path),
        WritingConfig.parse(config, "writing_config"),
        shard,
        item_text=item_text,
        user_text=user_text,
        text_digest=text_digest,
    )
