"""What the three dictionaries of an old data set say: who did what, and what was held out."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ur4rec.data.errors import DataError
from ur4rec.data.legacy_pickle import load_legacy_dictionary
from ur4rec.data.splits import Part

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
        """Adds a user; without times, positions in the list take their place."""
        steps = [(part, *step) for part in PARTS for step in steps_of_part[part]]
        self.users += [len(self.user_ids)] * len(steps)
        self.items += [item for _, item, _ in steps]
        self.timestamps += [float(position) if time is None else time for position, (_, _, time) in enumerate(steps)]
        self.parts += [part for part, _, _ in steps]
        self.user_ids.append(user)


def read_legacy(paths: Mapping[Part, Path]) -> LegacyRows:
    """Reads the dictionaries of training, validation and test.

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
        """A user's interactions; none where the file does not name the user."""
        return [self._read_step(user, step) for step in _list_steps(self.values.get(user, ()), self.timed)]

    def read_target(self, user: str, *histories: list[Step]) -> list[Step]:
        """A user's held-out interaction, or none: given alone, or behind one of the histories.

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
    """Whether the first interaction there is is a pair."""
    first = next((value for value in lists if not isinstance(value, list | tuple) or value), None)
    return isinstance(first, list | tuple) and isinstance(first[0], list | tuple)


def _list_steps(value: Any, timed: bool) -> list[Any]:
    """The interactions in a user's value, which may also be a single one."""
    if not isinstance(value, list | tuple):
        return [value]
    is_pair = timed and len(value) == 2 and not any(isinstance(part, list | tuple) for part in value)
    return [value] if is_pair else list(value)


def _read_id(value: Any) -> str | None:
    """The id as text, or None if it is none; whole numbers that an array has made fractions are restored."""
    if isinstance(value, str):
        return value if value.strip() and value.splitlines() == [value] else None
    return str(int(value)) if _is_number(value) and value == int(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST_NUMBER
