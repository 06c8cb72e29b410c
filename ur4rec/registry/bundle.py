"""The folder a served model needs: weights, memories, id maps, catalogue, histories and popularity.

Letters: U users, N items, R interactions.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ur4rec.columns import ITEM_ID, TIMESTAMP_S, TITLE, USER
from ur4rec.config_section import ConfigSection
from ur4rec.data.sequences import ITEM_MAP, ITEMS, USER_MAP, Histories, Sequences, load_sequences
from ur4rec.data.training_extent import TrainingExtent
from ur4rec.registry.served_model import write_served_model
from ur4rec.storage.artifacts import MANIFEST, ArtifactError, Manifest, read_artifact, write_artifact
from ur4rec.training.checkpoints import Origin, check_dataset, find_weights, read_origin

PRODUCER = "bundle"
HISTORIES = "histories.npz"
POPULARITY = "popularity.npz"


class BundleConfig(ConfigSection):
    """What shapes a bundle beside the model."""

    recent_quantile: float = 0.8
    """An interaction is recent, for the popularity fallback, from this quantile of the timestamps on."""


@dataclass(frozen=True)
class Bundle:
    """A bundle's tables in memory; the model itself is loaded by `Recommender`."""

    path: Path
    manifest: Manifest
    item_index: dict[str, int]
    user_index: dict[str, int]
    item_ids: np.ndarray
    """Original item id of each dense index, object `[N+1]`; position 0 is empty."""
    titles: np.ndarray
    """object `[N+1]`."""
    histories: Histories
    """Everything each user did up to now."""
    training_lengths: np.ndarray
    """Interactions of each user that training saw, int64 `[U+1]`."""
    popularity: np.ndarray
    """Score of the fallback, int64 `[N+1]`: recent interactions of each item."""
    fallback_order: np.ndarray
    """Item indices, most popular recently first, int64 `[N]`."""

    @property
    def extent(self) -> TrainingExtent:
        """What the model was trained on."""
        cutoff_s = int(self.manifest.details["training_cutoff_s"])
        return TrainingExtent(self.user_index, self.item_index, self.histories, self.training_lengths, cutoff_s)

    @property
    def num_items(self) -> int:
        """Items in the catalogue, without padding."""
        return len(self.item_ids) - 1


def write_bundle(sequences: Path, checkpoint: Path, output: Path) -> Manifest:
    """Makes a bundle: the evaluated weights, with memories replayed over the full histories.

    Args:
        sequences: Sequences artifact folder.
        checkpoint: Checkpoint artifact folder, or a folder of exported outputs; its last stage is bundled.
        output: Where the bundle goes.

    Returns:
        The manifest; its details hold the training cutoffs.

    Raises:
        ArtifactError: An input is missing or altered.
        CheckpointError: The model was trained on other sequences.
    """
    check_dataset(checkpoint, sequences)
    config = BundleConfig()
    inputs = {"sequences": Path(sequences), "checkpoint": _describe_checkpoint(Path(checkpoint))}
    with write_artifact(output, PRODUCER, config, inputs) as writer:
        loaded = load_sequences(sequences)
        histories = loaded.histories("full")
        for name in (ITEM_MAP, USER_MAP):
            shutil.copyfile(Path(sequences) / name, writer.folder / name)
        loaded.items.to_parquet(writer.folder / ITEMS)
        _write_arrays(writer.folder, loaded, histories, config)
        write_served_model(Path(checkpoint), histories, writer.folder)
        writer.details.update(_describe(loaded, read_origin(Path(checkpoint))))
    return read_artifact(output)


def load_bundle(path: Path) -> Bundle:
    """Reads and verifies a bundle's tables.

    Raises:
        ArtifactError: The folder is not a bundle, is incomplete or was altered.
    """
    path = Path(path)
    if not (path / MANIFEST).is_file():
        raise ArtifactError(f"{path}: bundle not found; expected models:/NAME@ALIAS or a bundle folder")
    manifest = read_artifact(path)
    if manifest.producer != PRODUCER:
        raise ArtifactError(
            f"{path}: made by {manifest.producer!r}, expected a bundle; register the model and name models:/NAME@ALIAS"
        )
    with np.load(path / HISTORIES, allow_pickle=False) as arrays:
        histories = Histories(arrays["offsets"], arrays["items"], arrays["timestamps"])
        training_lengths = arrays["training_lengths"]
    with np.load(path / POPULARITY, allow_pickle=False) as arrays:
        recent, total = arrays["recent"], arrays["total"]
    items = pd.read_parquet(path / ITEMS)
    return Bundle(
        path=path,
        manifest=manifest,
        item_index=_read_map(path / ITEM_MAP),
        user_index=_read_map(path / USER_MAP),
        item_ids=_with_padding(items[ITEM_ID]),
        titles=_with_padding(items[TITLE]),
        histories=histories,
        training_lengths=training_lengths,
        popularity=recent,
        fallback_order=rank_popularity(recent, total),
    )


def count_popularity(histories: Histories, num_items: int, quantile: float) -> tuple[np.ndarray, np.ndarray]:
    """Interactions per item, `[N+1]`: those from `quantile` of the timestamps on, and all."""
    since = np.quantile(histories.timestamps, quantile)
    recent = histories.items[histories.timestamps >= since]
    return (
        np.bincount(recent, minlength=num_items + 1).astype(np.int64),
        np.bincount(histories.items, minlength=num_items + 1).astype(np.int64),
    )


def rank_popularity(recent: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Item indices from 1, by recent count, then total count, then index."""
    indices = np.arange(1, len(recent))
    return indices[np.lexsort((indices, -total[1:], -recent[1:]))]


def _describe_checkpoint(checkpoint: Path) -> Path:
    """What identifies the checkpoint: exported outputs have no manifest, so there it is the weights."""
    return checkpoint if (checkpoint / MANIFEST).is_file() else find_weights(checkpoint)


def _write_arrays(folder: Path, sequences: Sequences, histories: Histories, config: BundleConfig) -> None:
    training_lengths = np.bincount(sequences.train[:, USER], minlength=sequences.num_users + 1)
    np.savez(
        folder / HISTORIES,
        offsets=histories.offsets,
        items=histories.items,
        timestamps=histories.timestamps,
        training_lengths=training_lengths.astype(np.int64),
    )
    recent, total = count_popularity(histories, sequences.num_items, config.recent_quantile)
    np.savez(folder / POPULARITY, recent=recent, total=total)


def _describe(sequences: Sequences, origin: Origin | None) -> dict[str, object]:
    """Where training ended: later targets are fair game for a comparison of models.

    A model that was not trained from scratch has also seen what the model saw that it started from.
    """
    cutoff_s = int(sequences.train[:, TIMESTAMP_S].max())
    inherited_s = cutoff_s if origin is None else origin.training_cutoff_s
    return {
        "dataset": sequences.name,
        "dataset_digest": sequences.digest,
        "num_users": sequences.num_users,
        "num_items": sequences.num_items,
        "num_interactions": sequences.num_interactions,
        "training_cutoff_s": max(cutoff_s, inherited_s),
        "selection_cutoff_s": int(max(part[:, TIMESTAMP_S].max() for part in (sequences.train, sequences.val))),
        "warm_start": "" if origin is None else origin.name,
    }


def _read_map(path: Path) -> dict[str, int]:
    return {str(key): int(value) for key, value in json.loads(path.read_text(encoding="utf-8")).items()}


def _with_padding(column: pd.Series[str]) -> np.ndarray:
    return np.concatenate([[""], column.fillna("").to_numpy(dtype=object)]).astype(object)
