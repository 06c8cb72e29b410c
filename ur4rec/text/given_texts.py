"""Texts that exist already, here or in cloud storage: opened at the version that a run has been given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ur4rec.data.input_digest import digest_versions, list_file_versions
from ur4rec.storage.inputs import local_copy
from ur4rec.text.config import TextConfig
from ur4rec.text.imports import TextImportError

ITEM_TEXT, USER_TEXT = "item_text", "user_text"
"""Names of the two files, as those of the parameters."""


def digest_texts(locations: Iterable[str], config: TextConfig) -> str:
    """What the texts follow from besides the data: texts that exist, a word each, then the prompts of a language model.

    Raises:
        GcsError: An object is missing, or cloud storage cannot be read.
        PromptError: A prompt cannot be used.
    """
    parts = [_digest(location) for location in locations]
    if config.text_provider != "template":
        from ur4rec.text.llm.questions import Questions

        parts += Questions(config).versions
    return " ".join(parts)


@contextmanager
def open_given_texts(
    item_text: str | Path | None, user_text: str | Path | None, text_digest: str = ""
) -> Iterator[dict[str, Path]]:
    """Files with the texts that are given, by the names of the arguments; copies are gone after the block.

    Args:
        item_text: A file, or the `gs://…` of an object; None or empty: none.
        user_text: The same of users.
        text_digest: Taken earlier by `digest_texts` of the two in this order: the texts must be the same still. Empty:
            not checked.

    Raises:
        TextImportError: A file has changed meanwhile.
        GcsError: Cloud storage has nothing there, or cannot be read.
    """
    given = {name: str(text) for name, text in ((ITEM_TEXT, item_text), (USER_TEXT, user_text)) if text}
    with local_copy(given.get(ITEM_TEXT, "")) as items, local_copy(given.get(USER_TEXT, "")) as users:
        _check_unchanged(given.values(), text_digest)
        yield {name: file for name, file in ((ITEM_TEXT, items), (USER_TEXT, users)) if name in given}


def _check_unchanged(locations: Iterable[str], text_digest: str) -> None:
    """To be called after the copy is made: versions that are equal before and after were equal in between."""
    for location, expected in zip(locations, text_digest.split(), strict=False):
        if _digest(location) != expected:
            raise TextImportError(f"{location}: has changed since the run began; start another run")


def _digest(location: str) -> str:
    return digest_versions(list_file_versions(location))
