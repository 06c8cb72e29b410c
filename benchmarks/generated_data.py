"""From generated tables to what a training reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ur4rec.config import load_config
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.text.config import EncodeConfig, TextConfig
from ur4rec.text.encode import encode_text
from ur4rec.text.generate import generate_text


def prepare(folder: Path, write: Callable[[Path], Path], settings: dict[str, Any]) -> tuple[Path, Path]:
    """Sequences and text embeddings of a generated data set, made unless they are there.

    Args:
        folder: Where everything of the data set goes; its name is the data set's.
        write: Writes the tables into a folder.
        settings: Of the configuration, where they differ from the defaults.
    """
    sequences, texts, embeddings = (folder / name for name in ("sequences", "texts", "embeddings"))
    if not (embeddings / "manifest.json").is_file():
        config = load_config(None, {"dataset_name": folder.name} | settings)
        preprocess_sequences(write(folder / "raw"), sequences, config.narrow(DataConfig))
        generate_text(sequences, texts, config.narrow(TextConfig))
        encode_text(sequences, texts, embeddings, config.narrow(EncodeConfig), "cpu")
    return sequences, embeddings
