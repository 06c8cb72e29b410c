"""The folder of text embeddings: its files are written and read in one place, with numpy alone.

Letters: N items, Q sentences, P snapshots, D distinct texts, T width of a vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int

from ur4rec.data.sequences import Sequences
from ur4rec.storage.artifacts import ArtifactError, check_named, read_artifact_of
from ur4rec.storage.contents import ContentError, check_finite, read_array, refuse_rows, save_array
from ur4rec.text.artifact import SEQUENCES_DIGEST, check_points, check_prefixes

PRODUCER = "encode_text"
ITEM_DESCRIPTIONS = "item_descriptions.npy"
SENTENCES = "user_preferences.npy"
OFFSETS = "user_preferences_offsets.npy"
SNAPSHOTS = "user_preferences_as_of.npy"
ROWS_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class TextEmbeddings:
    """The unit vectors of all texts, as memory-mapped arrays.

    Args:
        item_descriptions: One vector for each item; row 0 (padding) is zero.
        sentences: The sentences of every snapshot, one snapshot after the other.
        offsets: The sentences of snapshot p are `offsets[p]:offsets[p + 1]`.
        snapshots: User index and `as_of` of every snapshot, sorted.
    """

    item_descriptions: Float32[np.ndarray, "N1 T"]
    sentences: Float32[np.ndarray, "Q T"]
    offsets: Int[np.ndarray, "P1"]
    snapshots: Int[np.ndarray, "P 2"]


def write_embeddings(
    folder: Path,
    vectors: Float32[np.ndarray, "D T"],
    items: Int[np.ndarray, "N"],
    sentences: Int[np.ndarray, "Q"],
    offsets: Int[np.ndarray, "P1"],
    snapshots: Int[np.ndarray, "P 2"],
) -> None:
    """Write the four arrays without a second copy of the vectors in memory.

    Args:
        folder: The files go here.
        vectors: One row for each distinct text.
        items: The row of each item's description.
        sentences: The row of each sentence.
        offsets: The same as in `TextEmbeddings`.
        snapshots: The same as in `TextEmbeddings`.
    """
    _gather(folder / ITEM_DESCRIPTIONS, vectors, items, padding=1)
    _gather(folder / SENTENCES, vectors, sentences, padding=0)
    save_array(folder / OFFSETS, offsets)
    save_array(folder / SNAPSHOTS, snapshots)


def _gather(path: Path, vectors: Float32[np.ndarray, "D T"], rows: Int[np.ndarray, "R"], padding: int) -> None:
    """Write `padding` rows of zeros and then the given rows, a part at a time."""
    shape = (padding + len(rows), vectors.shape[1])
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with path.open("wb") as file:  # a mapped file would end the process where the disk is full
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(4 * padding * shape[1]))
        for start in range(0, len(rows), ROWS_AT_ONCE):
            file.write(vectors[rows[start : start + ROWS_AT_ONCE]].astype("<f4", copy=False).tobytes())


def check_embeddings(path: Path, sequences: Sequences) -> None:
    """Check that a folder holds the embeddings of this data set's texts, without reading them.

    Raises:
        ArtifactError: The folder is incomplete or altered, another task wrote it, or its texts are about other
            sequences.
    """
    details = read_artifact_of(path, PRODUCER).details
    items, digest = details.get("items", sequences.num_items), details.get(SEQUENCES_DIGEST, sequences.digest)
    if (items, digest) != (sequences.num_items, sequences.digest):
        raise ArtifactError(
            f"{path}: the texts are of other sequences than {sequences.name!r} (digest {sequences.digest[:8]}); "
            "run generate_text and encode_text on these"
        )


def load_embeddings(path: Path, sequences: Sequences) -> TextEmbeddings:
    """Read a folder of the text embeddings of a data set and verify it.

    Raises:
        ArtifactError: The folder is incomplete or altered, or an array holds what does not belong there.
    """
    path = Path(path)
    manifest = read_artifact_of(path, PRODUCER)
    check_named(path, manifest, (ITEM_DESCRIPTIONS, SENTENCES, OFFSETS, SNAPSHOTS))
    items = read_array(path / ITEM_DESCRIPTIONS, "float32", (sequences.num_items + 1, None))
    sentences = read_array(path / SENTENCES, "float32", (None, items.shape[1]))
    snapshots = read_array(path / SNAPSHOTS, "int64", (manifest.details.get("snapshots"), 2))
    offsets = read_array(path / OFFSETS, "int64", (len(snapshots) + 1,))
    check_points(path / SNAPSHOTS, snapshots, sequences)
    check_prefixes(path / SNAPSHOTS, snapshots, sequences)
    refuse_rows(path / OFFSETS, np.diff(offsets) < 0, "no number above the next")
    if offsets[[0, -1]].tolist() != [0, len(sentences)]:
        raise ContentError(path / OFFSETS, f"expected 0 to {len(sentences):,}, found {offsets[0]:,} to {offsets[-1]:,}")
    for name, vectors in ((ITEM_DESCRIPTIONS, items), (SENTENCES, sentences)):
        check_finite(path / name, vectors)
    refuse_rows(path / ITEM_DESCRIPTIONS, np.asarray(items[:1].any(axis=1)), "zeros, for padding")
    return TextEmbeddings(items, sentences, offsets, snapshots)
