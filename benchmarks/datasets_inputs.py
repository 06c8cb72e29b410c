"""Data sets of a benchmark: sequences, text embeddings and the split, made here where they are not there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peer_exchange import Split
from ur4rec.config import Config
from ur4rec.data.config import DataConfig
from ur4rec.data.input_files import digest_data
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import PRODUCER, Sequences, load_sequences
from ur4rec.storage.artifacts import MANIFEST, read_artifact, read_manifest
from ur4rec.text import embeddings as vectors
from ur4rec.text.artifact import SEQUENCES_DIGEST
from ur4rec.text.config import EncodeConfig, TextConfig
from ur4rec.text.encode import encode_text
from ur4rec.text.generate import generate_text

DIGITS = 12


@dataclass(frozen=True)
class Dataset:
    """A data set that every system can be run on."""

    sequences: Path
    embeddings: Path | None
    """None where no system reads texts."""
    split: Path
    data: Sequences
    embeddings_digest: str = ""

    @property
    def key(self) -> str:
        """Return its name, with digits that differ where the data do."""
        return f"{self.data.name}-{self.data.digest[:DIGITS]}"

    @property
    def mean_length(self) -> float:
        """Return the mean number of training interactions of a user."""
        return len(self.data.train) / max(self.data.num_users, 1)


def prepare_dataset(place: Path, embeddings: Sequence[Path], output: Path, config: Config, reads_text: bool) -> Dataset:
    """Find or make all that the systems read.

    Args:
        place: Sequences folder, a folder that has one named `sequences`, or what `ur4rec data preprocess` reads.
        embeddings: Text embeddings; those of these sequences are taken. Without them the texts are written and encoded.
        output: Gets what is made, under names that hold digests, so that it is made once.
        config: Of the data, the texts and their encoder.
        reads_text: Whether any system does.
    """
    sequences = _find_sequences(place) or _make_sequences(place, output, config.narrow(DataConfig))
    data = load_sequences(sequences)
    texts = None
    if reads_text:
        texts = (_find_embeddings(data, embeddings) or _make_embeddings(sequences, data, output, config)).absolute()
    split = output / f"{data.name}-{data.digest[:DIGITS]}.npz"
    split.parent.mkdir(parents=True, exist_ok=True)
    seen = {"validation": data.histories("validation"), "test": data.histories("test")}
    targets = {"validation": data.val, "test": data.test}
    Split(data.num_items, seen, targets, config.excludes_seen).save(split)
    digest = read_artifact(texts).content_digest if texts else ""
    return Dataset(sequences.absolute(), texts, split.absolute(), data, digest)


def _find_sequences(place: Path) -> Path | None:
    folders = (place, place / "sequences")
    return next((at for at in folders if (at / MANIFEST).is_file() and read_manifest(at).producer == PRODUCER), None)


def _make_sequences(place: Path, output: Path, config: DataConfig) -> Path:
    digest = _digest(digest_data(str(place)), config.to_dict())
    folder = output / f"sequences-{digest}"
    if not (folder / MANIFEST).is_file():
        preprocess_sequences(place, folder, config)
    return folder


def _find_embeddings(data: Sequences, embeddings: Sequence[Path]) -> Path | None:
    return next((path for path in embeddings if read_manifest(path).details.get(SEQUENCES_DIGEST) == data.digest), None)


def _make_embeddings(sequences: Path, data: Sequences, output: Path, config: Config) -> Path:
    texts, encoder = config.narrow(TextConfig), config.narrow(EncodeConfig)
    digest = _digest(data.digest, texts.to_dict(), encoder.to_dict())
    written, folder = output / f"texts-{digest}", output / f"embeddings-{digest}"
    if not (folder / MANIFEST).is_file():
        generate_text(sequences, written, texts)
        encode_text(sequences, written, folder, encoder, device="cpu")
    return folder


def item_vectors(dataset: Dataset) -> str:
    """Return the file of the items' vectors; empty without any."""
    return str(dataset.embeddings / vectors.ITEM_DESCRIPTIONS) if dataset.embeddings else ""


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:DIGITS]
