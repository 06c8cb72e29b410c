"""Folders of the old scripts, read as they are: pickled sequences, and two JSON files of texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ur4rec.commands.console import show

if TYPE_CHECKING:
    from ur4rec.config import Config


def import_old_sequences(folder: Path, output: Path) -> Path | None:
    """Write the old pickled sequences of a folder as a sequences folder; None where it holds none.

    Raises:
        ForbiddenPickleError: A file asks for code; nothing of it was called.
        DataError: A file is missing or cannot be understood.
    """
    from ur4rec.data.input_files import name_data
    from ur4rec.data.legacy import LegacyConfig, import_legacy
    from ur4rec.data.preprocess import FILE_OF_PART

    if not any((folder / name).is_file() for name in FILE_OF_PART.values()):
        return None
    details = import_legacy(folder, output, LegacyConfig(dataset_name=name_data(folder))).details
    counts = ", ".join(f"{details[f'num_{what}']:,} {what}" for what in ("users", "items", "interactions"))
    show(f"{folder}: old pickled sequences, read without running what they bring along: {counts}; see {output}")
    return output


def import_old_texts(folder: Path, sequences: Path, output: Path, config: Config) -> Path | None:
    """Write the two old JSON files of a folder as a texts folder; None where it holds neither.

    What they leave out is written as the configuration says.

    Raises:
        TextImportError: A file cannot be used.
        LeakError: The texts of users name what the users did later.
    """
    from ur4rec.text.artifact import ITEM_DESCRIPTIONS, USER_PREFERENCES
    from ur4rec.text.config import TextConfig
    from ur4rec.text.generate import generate_text

    texts = {name: folder / name for name in (ITEM_DESCRIPTIONS, USER_PREFERENCES) if (folder / name).is_file()}
    if not texts:
        return None
    show(f"{folder}: {' and '.join(texts)}, read as texts that exist already")
    generate_text(
        sequences, output, config.narrow(TextConfig), texts.get(ITEM_DESCRIPTIONS), texts.get(USER_PREFERENCES)
    )
    return output
