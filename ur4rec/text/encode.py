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
from ur4rec.text.artifact import (
    SEQUENCES_DIGEST,
    TEXT_SETTINGS,
    USER_SNAPSHOTS,
    LeakError,
    Texts,
    check_prefixes,
    load_texts,
)
from ur4rec.text.config import EncodeConfig
from ur4rec.text.embeddings import PRODUCER, write_embeddings
from ur4rec.text.encoder import Encoder, EncoderError, load_encoder
from ur4rec.text.readability import MAX_UNREADABLE_SHARE, advise, count_shared_vectors, describe_doubts
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
        EncoderError: The model or the device is not available, or the model cannot read the texts.
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
        writer.details[TEXT_SETTINGS] = read_artifact(inputs["texts"]).config
        _embed(written, load_encoder(config.text_model_name, device), config, writer)
    manifest = read_artifact(output)
    _report(manifest.details, config)
    return manifest


def _embed(texts: Texts, encoder: Encoder, config: EncodeConfig, writer: ArtifactWriter) -> None:
    split = [split_sentences(text) for text in texts.snapshots]
    kept = [parts[: config.max_sentences] for parts in split]
    sentences = list(chain.from_iterable(kept))
    row_of = {text: row for row, text in enumerate(dict.fromkeys(chain(sentences, texts.items)))}
    items, rows = (np.array([row_of[text] for text in part], dtype=np.int64) for part in (texts.items, sentences))
    reading = encoder.read(list(row_of))
    distinct = np.unique(items)
    writer.details |= {
        "items": len(items),
        "snapshots": len(kept),
        "snapshots_cut": sum(len(parts) > config.max_sentences for parts in split),
        "sentences": len(sentences),
        "distinct_texts": len(row_of),
        "distinct_item_texts": len(distinct),
        "model": encoder.name,
        "weights": encoder.weights,
        "max_tokens": encoder.max_tokens,
        **reading.describe_cut(),
        "unknown_words": {
            "items": reading.share_unknown(distinct),
            "user texts": reading.share_unknown(np.unique(rows)),
        },
        "device": str(encoder.model.device),
        "versions": {name: version(name) for name in LIBRARIES},
    }
    _refuse_unreadable(writer.details, config)
    with show_progress(PRODUCER, len(row_of)) as advance:
        vectors = encoder.encode(reading, config.text_batch_size, advance)
    writer.details |= {
        "dimension": vectors.shape[1],
        "items_with_shared_vector": count_shared_vectors(vectors[distinct]),
    }
    _refuse_unreadable(writer.details, config)
    write_embeddings(writer.folder, vectors, items, rows, np.cumsum([0, *map(len, kept)]), texts.points)


def _refuse_unreadable(details: dict[str, Any], config: EncodeConfig) -> None:
    doubts = describe_doubts(details, MAX_UNREADABLE_SHARE)
    if doubts and config.unreadable_texts == "error":
        raise EncoderError(
            f"{advise(doubts, config.text_model_name)}; unreadable_texts: accept encodes them as they are"
        )


def _report(details: dict[str, Any], config: EncodeConfig) -> None:
    lines = [
        f"{details['items']:,} items and {details['sentences']:,} sentences of {details['snapshots']:,} "
        f"user snapshots in {details['dimension']} dimensions by {details['model']} on {details['device']}"
    ]
    if details["snapshots_cut"]:
        lines.append(f"{details['snapshots_cut']:,} snapshots cut to {config.max_sentences} sentences")
    if details["texts_cut"]:
        lines.append(
            f"{details['texts_cut']:,} texts cut to the {details['max_tokens']:,} tokens that the model reads: "
            f"{details['tokens_cut_share']:.1%} of all tokens are lost"
        )
    if doubts := describe_doubts(details):
        lines.append(f"warning: {advise(doubts, config.text_model_name)}")
    for line in lines:
        print(f"{PRODUCER}: {line}")
