"""Old pickled sequences, `{user: [items]}`, as a sequences folder.

Letters: R interactions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from ur4rec.columns import TIMESTAMP
from ur4rec.config_section import ConfigSection
from ur4rec.data import sequences as files
from ur4rec.data.errors import DataError
from ur4rec.data.fields import Numbers
from ur4rec.data.input_files import ITEM_TABLE
from ur4rec.data.interactions import Interactions, check_timestamps, check_unit
from ur4rec.data.items import read_items
from ur4rec.data.legacy_values import LegacyRows, read_legacy
from ur4rec.data.preprocess import FILE_OF_PART, write_sequences
from ur4rec.data.selection import Rows, Selection
from ur4rec.storage.artifacts import Manifest, read_artifact, write_artifact

NO_INTERACTION = "without_interaction"


class LegacyConfig(ConfigSection):
    """What the old files do not say."""

    dataset_name: str = "legacy"
    """Shown in results."""
    split: Literal["leave_one_out"] = "leave_one_out"
    """What the layout of the old files amounts to: at most one validation and one test item a user."""


def import_legacy(folder: Path, output: Path, config: LegacyConfig, items: Path | None = None) -> Manifest:
    """Converts `train_sequences.npy`, `val_sequences.npy`, `test_sequences.npy` and, if there is one, `item_map.json`.

    The split and the order are those of the files; nothing is filtered. Items get new indices.

    Args:
        folder: Holds the old files.
        output: Folder to write, as `preprocess_sequences` does; an older one there is replaced.
        config: Name of the data set.
        items: Item table, CSV or Parquet, by the original ids.

    Returns:
        The manifest; its `details` hold every count.

    Raises:
        ForbiddenPickleError: A file asks for code; nothing of it was called.
        DataError: A file is missing or cannot be understood; names it and the user.
    """
    inputs = _find_files(Path(folder), items)
    with write_artifact(Path(output), files.PRODUCER, config, inputs) as writer:
        old = read_legacy({part: inputs[name] for part, name in FILE_OF_PART.items()})
        raw = _encode(old, inputs)
        metadata = read_items(inputs[ITEM_TABLE]) if ITEM_TABLE in inputs else None
        selection = Selection(Rows(raw.users, raw.items, raw.timestamps, np.array(old.parts, dtype=np.int8)))
        selection.excluded_users |= {NO_INTERACTION: old.num_empty} if old.num_empty else {}
        writer.details |= {"dataset_name": config.dataset_name, "split": config.split, "cut_s": None}
        write_sequences(writer, raw, selection, metadata)
        writer.details["timestamps"][files.ARE_POSITIONS] = not old.timed
        writer.details["source_files"] = {role: file.name for role, file in inputs.items()}
    return read_artifact(Path(output))


def _find_files(folder: Path, items: Path | None) -> dict[str, Path]:
    found = {name: folder / name for name in FILE_OF_PART.values()}
    if (folder / files.ITEM_MAP).exists():
        found[files.ITEM_MAP] = folder / files.ITEM_MAP
    if items:
        found[ITEM_TABLE] = Path(items)
    for path in found.values():
        if not path.is_file():
            raise DataError(f"{path}: not found; expected {', '.join(FILE_OF_PART.values())} in {folder}")
    return found


def _encode(old: LegacyRows, inputs: dict[str, Path]) -> Interactions:
    timestamps = np.array(old.timestamps, dtype=np.float64)
    users = np.array(old.users, dtype=np.int64)
    if old.timed:
        _check_times(inputs[files.TRAIN], old.user_ids, users, timestamps)
    items = pa.array(old.items, pa.string()).dictionary_encode()
    return Interactions(
        users=users,
        items=items.indices.to_numpy().astype(np.int64),
        timestamps=timestamps,
        ratings=None,
        user_ids=pa.array(old.user_ids, pa.string()),
        item_ids=_restore_ids(items.dictionary, inputs.get(files.ITEM_MAP)),
        num_read=len(users),
        excluded={},
    )


def _check_times(path: Path, user_ids: list[str], users: np.ndarray, timestamps: np.ndarray) -> None:
    nothing = np.zeros(len(users), dtype=bool)
    numbers = Numbers(timestamps, missing=nothing, invalid=nothing)
    check_unit(path, numbers)
    goes_back = np.append(False, (np.diff(timestamps) < 0) & (np.diff(users) == 0))
    expected = {check.expected: check.fails for check in check_timestamps(numbers)}
    expected["no time before that of the interaction ahead of it, from training over validation to test"] = goes_back
    for what, fails in expected.items():
        if fails.any():
            row = int(np.argmax(fails))
            raise DataError(
                f"{path.parent}, user {user_ids[users[row]]!r}: {TIMESTAMP} {timestamps[row]:.0f}; expected {what}"
            )


def _restore_ids(items: pa.StringArray, path: Path | None) -> pa.StringArray:
    """Original ids of the items by `item_map.json`, which has original id → number in the sequences."""
    if path is None:
        return items
    original = _read_item_map(path)
    unknown = [item for item in items.to_pylist() if item not in original]
    if unknown:
        raise DataError(f"{path}: no entry for item {unknown[0]!r} of the sequences ({len(unknown):,} such items)")
    return pa.array([original[item] for item in items.to_pylist()], pa.string())


def _read_item_map(path: Path) -> dict[str, str]:
    """Number in the sequences → original id."""
    try:
        index_of = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error})") from None
    if not (isinstance(index_of, dict) and all(type(index) is int for index in index_of.values())):
        raise DataError(f"{path}: expected original item id → whole number, as in the sequences")
    if len(set(index_of.values())) < len(index_of):
        raise DataError(f"{path}: two original ids share a number; each must have its own")
    return {str(index): original for original, index in index_of.items()}
