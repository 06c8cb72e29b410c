"""The task `encode_text`: every distinct sentence and description through the encoder, once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ur4rec.data.sequences import load_sequences
from ur4rec.memory_limits import naming_settings
from ur4rec.progress import show_progress
from ur4rec.storage.artifacts import Manifest, read_artifact, write_artifact
from ur4rec.text.artifact import (
    SEQUENCES_DIGEST,
    USER_SNAPSHOTS,
    Texts,
    check_prefixes,
    load_texts,
    refuse_leaks,
)
from ur4rec.text.config import EncodeConfig
from ur4rec.text.embeddings import PRODUCER, write_embeddings
from ur4rec.text.encoder import Encoder, load_encoder
from ur4rec.text.sentences import split_sentences

LIBRARIES = ("sentence-transformers", "transformers", "tokenizers", "torch", "numpy")


@naming_settings("text_batch_size")
def encode_text(sequences: Path, texts: Path, output: Path, config: EncodeConfig, device: str = "auto") -> Manifest:
    """Embeds every text: a user's sentence by sentence, an item's as a whole (as far as the model reads).

    Args:
        sequences: Folder written by `preprocess_sequences`.
        texts: Folder written by `generate_text` from these sequences.
        output: Folder to write; an older one there is replaced.
        config: Model, batch size, sentences kept.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        EncoderError: The model or the device is not available.
        LeakError: The texts did not pass the leak check.
        ArtifactError: An input is incomplete, altered, or the two do not belong together.
    """
    refuse_leaks(Path(texts))
    data = load_sequences(Path(sequences))
    written = load_texts(Path(texts), data)
    check_prefixes(Path(texts) / USER_SNAPSHOTS, written.points, data)
    inputs = {"sequences": Path(sequences), "texts": Path(texts)}
    with write_artifact(output, PRODUCER, config, inputs) as writer:
        encoder = load_encoder(config.text_model_name, device)
        split = _split(written, config.max_sentences)
        distinct = list(dict.fromkeys(chain(split.sentences, written.items)))
        with show_progress(PRODUCER, len(distinct)) as advance:
            vectors = encoder.encode(distinct, config.text_batch_size, advance)
        row_of = {text: row for row, text in enumerate(distinct)}
        items, sentences = (_find_rows(row_of, texts) for texts in (written.items, split.sentences))
        write_embeddings(writer.folder, vectors, items, sentences, split.offsets, written.points)
        writer.details |= {
            SEQUENCES_DIGEST: data.digest,
            "items": len(items),
            "snapshots": len(written.points),
            "snapshots_cut": split.num_cut,
            "sentences": len(sentences),
            "distinct_texts": len(distinct),
            **_describe(encoder, vectors.shape[1]),
        }
    manifest = read_artifact(output)
    _report(manifest.details, config)
    return manifest


@dataclass(frozen=True)
class _Split:
    sentences: list[str]
    offsets: np.ndarray
    num_cut: int
    """Snapshots with more sentences than are kept."""


def _split(texts: Texts, max_sentences: int) -> _Split:
    parts = [split_sentences(text) for text in texts.snapshots]
    kept = [part[:max_sentences] for part in parts]
    offsets = np.cumsum([0, *map(len, kept)], dtype=np.int64)
    return _Split(list(chain.from_iterable(kept)), offsets, sum(len(part) > max_sentences for part in parts))


def _find_rows(row_of: dict[str, int], texts: Iterable[str]) -> np.ndarray:
    return np.fromiter((row_of[text] for text in texts), dtype=np.int64)


def _describe(encoder: Encoder, dimension: int) -> dict[str, object]:
    """What the vectors depend on besides the texts."""
    return {
        "model": encoder.name,
        "weights": encoder.weights,
        "dimension": dimension,
        "max_tokens": encoder.max_tokens,
        "device": str(encoder.model.device),
        "versions": {name: version(name) for name in LIBRARIES},
    }


def _report(details: dict[str, Any], config: EncodeConfig) -> None:
    print(
        f"{PRODUCER}: {details['items']:,} items and {details['sentences']:,} sentences of {details['snapshots']:,} "
        f"user snapshots in {details['dimension']} dimensions by {details['model']} on {details['device']}"
    )
    if details["snapshots_cut"]:
        print(f"{PRODUCER}: {details['snapshots_cut']:,} snapshots cut to {config.max_sentences} sentences")
