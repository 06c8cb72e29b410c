"""Old pickled sequences, `{user: [items]}`, as a sequences folder.

Letters: R interactions.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from ur4rec.columns import TIMESTAMP
from ur4rec.config_section import ConfigSection
from ur4rec.data import sequences as files
from ur4rec.data.config import DataConfig
from ur4rec.data.errors import DataError
from ur4rec.data.fields import Numbers
from ur4rec.data.input_files import ITEM_TABLE
from ur4rec.data.interactions import Interactions, check_timestamps
from ur4rec.data.items import read_items
from ur4rec.data.legacy_pickle import load_legacy_dictionary
from ur4rec.data.preprocess import FILE_OF_PART, write_sequences
from ur4rec.data.selection import Part, Rows, Selection
from ur4rec.data.times import SECONDS, name_magnitude
from ur4rec.storage.artifacts import Manifest, read_artifact, write_artifact

PARTS = (Part.TRAIN, Part.VAL, Part.TEST)
LARGEST_NUMBER = 10**18

Step = tuple[str, float | None]
"""Item and, if the files have it, its time."""


@dataclass
class LegacyRows:
    """All interactions, user by user: training, then validation, then test."""

    timed: bool
    user_ids: list[str] = field(default_factory=list)
    users: list[int] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    timestamps: list[float] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    num_empty: int = 0
    """Users without any interaction, left out."""

    def add(self, user: str, steps_of_part: dict[Part, list[Step]]) -> None:
        """Add a user; without times, positions in the list take their place."""
        steps = [(part, *step) for part in PARTS for step in steps_of_part[part]]
        self.users += [len(self.user_ids)] * len(steps)
        self.items += [item for _, item, _ in steps]
        self.timestamps += [float(position) if time is None else time for position, (_, _, time) in enumerate(steps)]
        self.parts += [part for part, _, _ in steps]
        self.user_ids.append(user)


def read_legacy(paths: Mapping[Part, Path]) -> LegacyRows:
    """Read the dictionaries of training, validation and test.

    Raises:
        ForbiddenPickleError: A file asks for code; nothing of it was called.
        DataError: A file or a user's value cannot be understood, or one part has no interaction; names the file.
    """
    contents = {part: _by_user(path, load_legacy_dictionary(path)) for part, path in paths.items()}
    timed = _holds_times(contents[Part.TRAIN].values())
    train, val, test = (_LegacyFile(paths[part], contents[part], timed) for part in PARTS)
    rows = LegacyRows(timed)
    for user in dict.fromkeys(user for values in contents.values() for user in values):
        history = train.read_list(user)
        val_target = val.read_target(user, history)
        test_target = test.read_target(user, history, history + val_target)
        if history:
            rows.add(user, {Part.TRAIN: history, Part.VAL: val_target, Part.TEST: test_target})
        elif val_target or test_target:
            raise DataError(f"{train.path}, user {user!r}: no training interaction, but a held-out one; drop the user")
        else:
            rows.num_empty += 1
    for part in PARTS:
        if part not in rows.parts:
            raise DataError(f"{paths[part]}: holds no interaction")
    return rows


@dataclass(frozen=True)
class _LegacyFile:
    """One of the three dictionaries."""

    path: Path
    values: dict[str, Any]
    timed: bool
    """Whether it holds pairs of item and time."""

    def read_list(self, user: str) -> list[Step]:
        """Return a user's interactions; none where the file does not name the user."""
        return [self._read_step(user, step) for step in _list_steps(self.values.get(user, ()), self.timed)]

    def read_target(self, user: str, *histories: list[Step]) -> list[Step]:
        """Return a user's held-out interaction, or none: given alone, or behind one of the histories.

        Raises:
            DataError: It is neither.
        """
        steps = self.read_list(user)
        if len(steps) > 1 and (steps in histories or steps[:-1] not in histories):
            raise DataError(
                f"{self.path}, user {user!r}: {len(steps)} interactions; expected the held-out one alone, or the "
                "training list (before a test item perhaps with the validation item) and the held-out one behind it"
            )
        return steps[-1:]

    def _read_step(self, user: str, step: Any) -> Step:
        if not self.timed:
            return self._read_item(user, step), None
        if not (isinstance(step, list | tuple) and len(step) == 2):
            raise self._refuse(user, "a pair of item and timestamp, as in the training file", step)
        item, time = step
        if not _is_number(time):
            raise self._refuse(user, "a timestamp in seconds", time)
        return self._read_item(user, item), float(time)

    def _read_item(self, user: str, value: Any) -> str:
        item = _read_id(value)
        if item is None:
            raise self._refuse(user, "an item id: text or a whole number", value)
        return item

    def _refuse(self, user: str, expected: str, value: Any) -> DataError:
        return DataError(f"{self.path}, user {user!r}: expected {expected}, got {reprlib.repr(value)}")


def _by_user(path: Path, content: dict[Any, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in content.items():
        user = _read_id(key)
        if user is None or user in values:
            raise DataError(
                f"{path}: user {reprlib.repr(key)}; expected distinct ids that are text or whole numbers as keys"
            )
        values[user] = value
    return values


def _holds_times(lists: Iterable[Any]) -> bool:
    """Return whether the first interaction there is is a pair."""
    first = next((value for value in lists if not isinstance(value, list | tuple) or value), None)
    return isinstance(first, list | tuple) and isinstance(first[0], list | tuple)


def _list_steps(value: Any, timed: bool) -> list[Any]:
    """Return the interactions in a user's value, which may also be a single one."""
    if not isinstance(value, list | tuple):
        return [value]
    is_pair = timed and len(value) == 2 and not any(isinstance(part, list | tuple) for part in value)
    return [value] if is_pair else list(value)


def _read_id(value: Any) -> str | None:
    """Return the id as text, or None if it is none; whole numbers that an array has made fractions are restored."""
    if isinstance(value, str):
        return value if value.strip() and value.splitlines() == [value] else None
    return str(int(value)) if _is_number(value) and value == int(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST_NUMBER


NO_INTERACTION = "without_interaction"


class LegacyConfig(ConfigSection):
    """What the old files do not say."""

    dataset_name: str = "legacy"
    """Shown in results."""
    split: Literal["leave_one_out"] = "leave_one_out"
    """What the layout of the old files amounts to: at most one validation and one test item a user."""


def import_legacy(folder: Path, output: Path, config: LegacyConfig, items: Path | None = None) -> Manifest:
    """Convert `train_sequences.npy`, `val_sequences.npy`, `test_sequences.npy` and, if there is one, `item_map.json`.

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
        metadata = read_items(inputs[ITEM_TABLE], DataConfig()) if ITEM_TABLE in inputs else None
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
    if folder.is_file():
        raise DataError(
            f"{folder}: a file; expected a folder with {', '.join(FILE_OF_PART.values())}; a text of users and their "
            f"items, or any other file of interactions, is read by ur4rec data preprocess {folder}"
        )
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
    if (unit := name_magnitude(timestamps)) != SECONDS:
        raise DataError(
            f"{path}, column {TIMESTAMP!r}: values such as {np.median(timestamps):.0f} look like {unit}; expected "
            "seconds since 1970-01-01; convert them"
        )
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
    """Return the original ids of the items by `item_map.json`, which has original id → number in the sequences."""
    if path is None:
        return items
    original = _read_item_map(path)
    unknown = [item for item in items.to_pylist() if item not in original]
    if unknown:
        raise DataError(f"{path}: no entry for item {unknown[0]!r} of the sequences ({len(unknown):,} such items)")
    return pa.array([original[item] for item in items.to_pylist()], pa.string())


def _read_item_map(path: Path) -> dict[str, str]:
    """Return number in the sequences → original id."""
    try:
        index_of = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error})") from None
    if not (isinstance(index_of, dict) and all(type(index) is int for index in index_of.values())):
        raise DataError(f"{path}: expected original item id → whole number, as in the sequences")
    if len(set(index_of.values())) < len(index_of):
        raise DataError(f"{path}: two original ids share a number; each must have its own")
    return {str(index): original for original, index in index_of.items()}
