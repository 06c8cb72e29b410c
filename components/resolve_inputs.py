"""Inputs → digests, which key everything that is made from them."""

from typing import Any, NamedTuple

from kfp import dsl

from components.image import SLIM


@dsl.component(base_image=SLIM, install_kfp_package=False)
def resolve_inputs(
    interactions: str,
    items: str,
    data_digest: str,
    item_text: str,
    user_text: str,
    text_digest: str,
    config: dict[str, Any],
) -> NamedTuple("InputDigests", [("data_digest", str), ("text_digest", str)]):  # type: ignore[valid-type]
    """Thin wrapper around `ur4rec.input_digests.resolve_inputs`."""
    from ur4rec.input_digests import resolve_inputs
    from ur4rec.text.config import TextConfig

    return resolve_inputs(
        interactions,
        TextConfig.parse(config, "text_config"),
        items=items,
        item_text=item_text,
        user_text=user_text,
        data_digest=data_digest,
        text_digest=text_digest,
    )
