"""Generated data sets: their tables, and the way to what a training reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ur4rec.config import load_config
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.text.config import EncodeConfig, TextConfig
from ur4rec.text.encode import encode_text
from ur4rec.text.generate import generate_text


@dataclass(frozen=True)
class Tables:
    """A data set in the form that `ur4rec data preprocess` reads."""

    interactions: pd.DataFrame
    """`user_id, item_id, timestamp`; a user's rows are consecutive and in the order of time."""
    items: pd.DataFrame
    """`item_id, title, genres`."""

    def write(self, folder: Path) -> Path:
        """Writes `interactions.csv` and `items.csv`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.interactions.to_csv(folder / "interactions.csv", index=False)
        self.items.to_csv(folder / "items.csv", index=False)
        return folder


def prepare(folder: Path, generate: Callable[[], Tables], settings: dict[str, Any]) -> tuple[Path, Path]:
    """Sequences and text embeddings of a generated data set, made unless they are there.

    Args:
        folder: Where everything of the data set goes; its name is the data set's.
        generate: Makes the tables, where they are needed.
        settings: Of the configuration, where they differ from the defaults.
    """
    sequences, texts, embeddings = (folder / name for name in ("sequences", "texts", "embeddings"))
    if not (embeddings / "manifest.json").is_file():
        config = load_config(None, {"dataset_name": folder.name} | settings)
        preprocess_sequences(generate().write(folder / "raw"), sequences, config.narrow(DataConfig))
        generate_text(sequences, texts, config.narrow(TextConfig))
        encode_text(sequences, texts, embeddings, config.narrow(EncodeConfig), "cpu")
    return sequences, embeddings
