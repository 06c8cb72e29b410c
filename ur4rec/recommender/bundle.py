"""The folder that a served model needs: weights, memories, id maps, catalogue, histories and popularity.

Letters: U users, N items, R interactions.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ur4rec.columns import ITEM_ID, TIMESTAMP_S, TITLE, USER
from ur4rec.config_section import ConfigSection
from ur4rec.data.sequences import (
    ITEM_MAP,
    ITEMS,
    USER_MAP,
    Histories,
    Sequences,
    check_items,
    load_sequences,
    read_ids,
)
from ur4rec.data.training_extent import TrainingExtent
from ur4rec.models.tensor_files import write_tensors
from ur4rec.storage.artifacts import MANIFEST, ArtifactError, Manifest, check_named, read_artifact, write_artifact
from ur4rec.storage.contents import ContentError, check_array, read_arrays, read_columns
from ur4rec.training.checkpoints import (
    FINAL_MODEL,
    MODEL_CONFIG,
    CheckpointError,
    Origin,
    check_dataset,
    find_weights,
    load_model,
    read_origin,
    read_shape,
)
from ur4rec.training.scoring import ModelScorer

MEMORIES = "memories.pt"
PRODUCER = "bundle"
HISTORIES = "histories.npz"
POPULARITY = "popularity.npz"
FILES = (ITEM_MAP, USER_MAP, ITEMS, HISTORIES, POPULARITY, FINAL_MODEL, MODEL_CONFIG, MEMORIES)


class BundleConfig(ConfigSection):
    """The settings of a bundle that are not the model's."""

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
    excludes_seen: bool = True
    """Whether what a user has had is left out, unless a request says otherwise: the rule that the model was made by."""

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
    """Make a bundle: the weights of the last stage, with memories replayed over the full histories.

    Args:
        sequences: Sequences artifact folder.
        checkpoint: Checkpoint artifact folder, or a folder of exported outputs.
        output: Where the bundle goes.

    Returns:
        The manifest; its details hold the training cutoffs.

    Raises:
        ArtifactError: An input is missing or altered.
        CheckpointError: The model was trained on other sequences.
    """
    sequences, checkpoint, config = Path(sequences), Path(checkpoint), BundleConfig()
    check_dataset(checkpoint, sequences)
    # Exported outputs have no manifest, so there the weights say which checkpoint it is.
    trained = checkpoint if (checkpoint / MANIFEST).is_file() else find_weights(checkpoint)
    with write_artifact(output, PRODUCER, config, {"sequences": sequences, "checkpoint": trained}) as writer:
        loaded = load_sequences(sequences)
        histories = loaded.histories("full")
        for source in (sequences / ITEM_MAP, sequences / USER_MAP, checkpoint / MODEL_CONFIG):
            shutil.copyfile(source, writer.folder / source.name)
        loaded.items.to_parquet(writer.folder / ITEMS)
        _write_arrays(writer.folder, loaded, histories, config)
        _write_model(writer.folder, checkpoint, histories)
        writer.details.update(_describe(loaded, read_origin(checkpoint)))
    return read_artifact(output)


def load_bundle(path: Path) -> Bundle:
    """Read and verify a bundle's tables.

    Raises:
        ArtifactError: The folder is not a bundle, is incomplete or was altered, or what a file holds is not what
            belongs there; names it.
        CheckpointError: The model's configuration is damaged.
    """
    path = Path(path)
    if not (path / MANIFEST).is_file():
        raise ArtifactError(f"{path}: bundle not found; expected models:/NAME@ALIAS or a bundle folder")
    manifest = read_artifact(path)
    if manifest.producer != PRODUCER:
        raise ArtifactError(
            f"{path}: made by {manifest.producer!r}, expected a bundle; register the model and name models:/NAME@ALIAS"
        )
    check_named(path, manifest, FILES)
    user_ids, item_ids = read_ids(path / USER_MAP), read_ids(path / ITEM_MAP)
    histories, training_lengths = _read_histories(path / HISTORIES, len(user_ids) - 1, len(item_ids) - 1)
    recent, total = _read_popularity(path / POPULARITY, histories, len(item_ids))
    items = read_columns(path / ITEMS, (ITEM_ID, TITLE))
    check_items(path / ITEMS, items, item_ids)
    return Bundle(
        path=path,
        manifest=manifest,
        item_index={original: index for index, original in enumerate(item_ids) if index},
        user_index={original: index for index, original in enumerate(user_ids) if index},
        item_ids=np.array(item_ids, dtype=object),
        titles=np.array(["", *items[TITLE].to_pylist()], dtype=object),
        histories=histories,
        training_lengths=training_lengths,
        popularity=recent,
        fallback_order=rank_popularity(recent, total),
        excludes_seen=read_shape(path).excludes_seen,
    )


def load_scorer(folder: Path, histories: Histories, device: str = "cpu") -> ModelScorer:
    """Load the model of a bundle folder, with the memories it was saved with.

    Raises:
        CheckpointError: The model is of other users, or its memories have not read these histories.
        TensorFileError: The weights or the memories are damaged, or not of the configured model.
    """
    model = load_model(folder, device=device)
    if model.num_users != histories.num_users:
        raise CheckpointError(
            f"{folder / MODEL_CONFIG}: num_users: is {model.num_users:,}, the histories are of "
            f"{histories.num_users:,}; register the model again"
        )
    model.load_memories(folder / MEMORIES)
    read = model.memory_tensors().get("absorbed")
    if read is not None and not np.array_equal(read.cpu(), histories.lengths):
        raise CheckpointError(f"{folder / MEMORIES}: absorbed: differs from the histories; register the model again")
    return ModelScorer(model, histories, replay=False)


def _read_histories(path: Path, num_users: int, num_items: int) -> tuple[Histories, np.ndarray]:
    """Read what every user did, and how much of it training saw."""
    arrays = read_arrays(path, dict.fromkeys(("offsets", "items", "timestamps", "training_lengths"), "int64"))
    offsets, items, times = arrays["offsets"], arrays["items"], arrays["timestamps"]
    sizes = {"offsets": num_users + 2, "timestamps": len(items), "training_lengths": num_users + 1}
    for name, size in sizes.items():
        check_array(path, arrays[name], "int64", (size,), f"{name}: ")
    lengths = np.diff(offsets)
    if offsets[[0, 1, -1]].tolist() != [0, 0, len(items)] or (lengths < 0).any():
        raise ContentError(path, f"offsets: expected numbers that rise from 0 to {len(items):,}")
    if ((items < 1) | (items > num_items)).any():
        raise ContentError(path, f"items: expected items from 1 to {num_items:,}, found {items.min()} to {items.max()}")
    histories = Histories(offsets, items, times)
    if ((np.diff(times) < 0) & (np.diff(histories.users) == 0)).any():
        raise ContentError(path, "timestamps: expected those of a user to rise")
    if ((arrays["training_lengths"] < 0) | (arrays["training_lengths"] > lengths)).any():
        raise ContentError(path, "training_lengths: expected no more than a user's interactions")
    return histories, arrays["training_lengths"]


def _read_popularity(path: Path, histories: Histories, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Read the recent and all interactions of every item."""
    arrays = read_arrays(path, dict.fromkeys(("recent", "total"), "int64"))
    for name, counts in arrays.items():
        check_array(path, counts, "int64", (size,), f"{name}: ")
    recent, total = arrays["recent"], arrays["total"]
    if not np.array_equal(total, np.bincount(histories.items, minlength=size)):
        raise ContentError(path, f"total: expected the interactions of {HISTORIES}")
    if ((recent < 0) | (recent > total)).any():
        raise ContentError(path, "recent: expected no more than an item's interactions")
    return recent, total


def count_popularity(histories: Histories, num_items: int, quantile: float) -> tuple[np.ndarray, np.ndarray]:
    """Count the interactions of each item, `[N+1]`: those from `quantile` of the timestamps on, and all."""
    since = np.quantile(histories.timestamps, quantile)
    recent = np.bincount(histories.items[histories.timestamps >= since], minlength=num_items + 1)
    return recent.astype(np.int64), np.bincount(histories.items, minlength=num_items + 1).astype(np.int64)


def rank_popularity(recent: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Order item indices from 1 by recent count, then total count, then index."""
    indices = np.arange(1, len(recent))
    return indices[np.lexsort((indices, -total[1:], -recent[1:]))]


def _write_model(folder: Path, checkpoint: Path, histories: Histories) -> None:
    """Write the latest stage's weights, completed to those of a whole model, and their memories of `histories`."""
    model = load_model(checkpoint)
    with (folder / FINAL_MODEL).open("wb") as file:
        write_tensors(file, model.state_dict())
    ModelScorer(model, histories)  # replays the memories
    model.save_memories(folder / MEMORIES)


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
    """Say where training ended: later targets are fair game for a comparison of models.

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
