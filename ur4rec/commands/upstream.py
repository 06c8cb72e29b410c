"""Finds the artifact folders that a checkpoint was made from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ur4rec.storage.artifacts import MANIFEST, read_artifact, sha256_file

LEVELS = 4
"""From `OUTPUTS/stages/STAGE/checkpoint` up to the folder around `OUTPUTS`, where the embeddings lie by default."""


def find_upstream(sequences: Path, checkpoint: Path, embeddings: Path | None = None) -> list[Path]:
    """Return embeddings and earlier checkpoints of a checkpoint, in the order they were made; some may not be found.

    They are looked for beside the sequences, and beside and around the checkpoint, and known by the digests that each
    checkpoint keeps of its inputs. An `embeddings` folder that is given is not looked for.

    Raises:
        ArtifactError: The checkpoint or one that was found is altered.
    """
    folders = {sha256_file(path): path.parent for path in _list_manifests(sequences.absolute(), checkpoint.absolute())}
    inputs = read_artifact(checkpoint).inputs
    found = embeddings or folders.get(inputs.get("embeddings", ""))
    stages: list[Path] = []
    while folder := folders.get(inputs.get("checkpoint", "")):
        stages.insert(0, folder)
        inputs = read_artifact(folder).inputs
    return [found, *stages] if found else stages


def _list_manifests(sequences: Path, checkpoint: Path) -> Iterator[Path]:
    yield from sequences.parent.glob(f"*/{MANIFEST}")
    yield from checkpoint.parent.parent.glob(f"*/{checkpoint.name}/{MANIFEST}")
    for parent in checkpoint.parents[:LEVELS]:
        yield from parent.glob(f"*/{MANIFEST}")
