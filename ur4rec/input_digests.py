"""Digests of what a run reads, so that everything made from it is keyed by its contents and not by its place."""

from __future__ import annotations

from typing import NamedTuple

from ur4rec.data.input_files import digest_data
from ur4rec.text.config import TextConfig
from ur4rec.text.imports import digest_texts


class InputDigests(NamedTuple):
    """Equal digests mean equal inputs; the names are those of the pipeline's parameters."""

    data_digest: str
    """Covers the interactions and the item table."""
    text_digest: str
    """Covers texts that exist already and the prompts of a language model; empty where there are neither."""


def resolve_inputs(
    interactions: str,
    config: TextConfig,
    items: str = "",
    item_text: str = "",
    user_text: str = "",
    data_digest: str = "",
    text_digest: str = "",
) -> InputDigests:
    """Return the digests that are given, and those of the inputs as they are now where none is given.

    A run that is started once is given them. A scheduled run is not, or it would find the same data for ever.

    Args:
        interactions: A file or folder, or the `gs://…` or `s3://…` of an object or a prefix.
        config: Says whether a language model is asked, and with which prompts.
        items: Item table; empty: the one beside the interactions, if there is one.
        item_text: Item texts that exist already, a file, or the `gs://…` or `s3://…` of an object; empty: none.
        user_text: The same of users.
        data_digest: Result of an earlier call.
        text_digest: The same.

    Raises:
        DataError: A file is missing.
        StoreError: An object is missing, or cloud storage cannot be read.
        PromptError: A prompt cannot be used.
    """
    return InputDigests(
        data_digest or digest_data(interactions, items),
        text_digest or digest_texts([text for text in (item_text, user_text) if text], config),
    )
