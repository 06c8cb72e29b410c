"""The task `encode_text`: every distinct sentence and description passes the encoder once."""

from __future__ import annotations

from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ur4rec.data.sequences import load_sequences
from ur4rec.memory_limits import naming_settings
from ur4rec.progress import show_progress
from ur4rec.storage.artifacts import ArtifactWriter, Manifest, read_artifact, write_artifact
from ur4rec.text.artifact import SEQUENCES_DIGEST, USER_SNAPSHOTS, LeakError, Texts, check_prefixes, load_texts
from ur4rec.text.config import EncodeConfig
from ur4rec.text.embeddings import PRODUCER, write_embeddings
from ur4rec.text.encoder import Encoder, load_encoder
from ur4rec.text.sentences import split_sentences

LIBRARIES = ("sentence-transformers", "transformers", "tokenizers", "torch", "numpy")


@naming_settings("text_batch_size")
def encode_text(sequences: Path, texts: Path, output: Path, config: EncodeConfig, device: str = "auto") -> Manifest:
    """Embed every text, a user's sentence by sentence and an item's as a whole, as far as the model reads it.

    Args:
        sequences: Folder written by `preprocess_sequences`.
        texts: Folder written by `generate_text` from these sequences.
        output: Folder to write; an older one there is replaced.
        config: Model, batch size, sentences kept.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        EncoderError: The model or the device is not available.
        LeakError: The texts did not pass the leak check.
        ArtifactError: An input is incomplete or altered, or the two do not belong together.
    """
    inputs = {"sequences": Path(sequences), "texts": Path(texts)}
    data = load_sequences(inputs["sequences"])
    written = load_texts(inputs["texts"], data)
    if written.has_leaks:
        raise LeakError(f"{texts}: these texts leak and are for looking at only; `ur4rec text check` tells more")
    check_prefixes(inputs["texts"] / USER_SNAPSHOTS, written.points, data)
    with write_artifact(output, PRODUCER, config, inputs) as writer:
        writer.details[SEQUENCES_DIGEST] = data.digest
        _embed(written, load_encoder(config.text_model_name, device), config, writer)
    manifest = read_artifact(output)
    _report(manifest.details, config)
    return manifest


def _embed(texts: Texts, encoder: Encoder, config: EncodeConfig, writer: ArtifactWriter) -> None:
    split = [split_sentences(text) for text in texts.snapshots]
    kept = [parts[: config.max_sentences] for parts in split]
    sentences = list(chain.from_iterable(kept))
    row_of = {text: row for row, text in enumerate(dict.fromkeys(chain(sentences, texts.items)))}
    with show_progress(PRODUCER, len(row_of)) as advance:
        vectors = encoder.encode(list(row_of), config.text_batch_size, advance)
    items, rows = (np.array([row_of[text] for text in part], dtype=np.int64) for part in (texts.items, sentences))
    write_embeddings(writer.folder, vectors, items, rows, np.cumsum([0, *map(len, kept)]), texts.points)
    writer.details |= {
        "items": len(items),
        "snapshots": len(kept),
        "snapshots_cut": sum(len(parts) > config.max_sentences for parts in split),
        "sentences": len(sentences),
        "distinct_texts": len(row_of),
        "model": encoder.name,
        "weights": encoder.weights,
        "dimension": vectors.shape[1],
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
