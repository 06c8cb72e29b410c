"""The history of the champion: which versions had the alias, in what order, by the records of the registered model.

MLflow keeps no history of an alias, so every move of ours leaves a numbered record. A move by hand leaves none; it
shows where a record starts from another version than the one before it ended at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from ur4rec.registry.gate.verdict import NOBODY
from ur4rec.registry.mlflow_client import RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG_RECORD = "ur4rec.promotion."
"""Prefix of the registered model's tags that hold the records; the number follows."""
NO_VERSION = ""


class MoveKind(StrEnum):
    """How the champion changed."""

    PROMOTION = "promotion"
    ROLLBACK = "rollback"
    BY_HAND = "moved by hand"


class Move(BaseModel):
    """One intended or recorded move of the champion alias, or one by hand, of which nobody knows who and when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: MoveKind
    version: str
    previous: str
    """Champion before; `NO_VERSION`: there was none."""
    at: str
    """UTC."""
    by: str
    reason: str = ""
    verdict: str = ""
    """What the gate said, at that time."""
    steps: int = 0
    """Champions that a rollback goes back."""
    token: str
    """Tells two attempts at the same move apart."""

    def describe(self) -> str:
        """Say it in words, such as `promotion of version 5 by ann at 2026-01-31 10:00:00 UTC`."""
        to = "of" if self.kind is MoveKind.PROMOTION else "to"
        return f"{self.kind} {to} version {self.version} by {self.by} at {self.at}"


@dataclass
class _Replay:
    champions: list[str] = field(default_factory=list)
    rolled_back: set[str] = field(default_factory=set)
    entries: list[Move] = field(default_factory=list)

    @property
    def newest(self) -> str:
        return self.champions[-1] if self.champions else NO_VERSION

    def read(self, move: Move) -> None:
        self.see(move.previous)
        self.entries.append(move)
        if move.kind is MoveKind.ROLLBACK:
            self._drop(move.steps)
        self._put(move.version)

    def see(self, version: str) -> None:
        """Note a move by hand: to an earlier champion it counts as a rollback, to any other version as a promotion."""
        if version == self.newest:
            return
        self.entries.append(Move(kind=MoveKind.BY_HAND, version=version, previous=self.newest, at="", by="", token=""))
        if version != NO_VERSION and version in self.champions:
            while self.newest != version:
                self._drop(1)
        else:
            self._put(version)

    def _put(self, version: str) -> None:
        if version != self.newest:
            self.champions.append(version)
        self.rolled_back.discard(version)

    def _drop(self, steps: int) -> None:
        for _ in range(min(steps, len(self.champions))):
            self.rolled_back.add(self.champions.pop())


@dataclass(frozen=True)
class History:
    """The records of a registered model and where the alias points now."""

    moves: Mapping[int, Move]
    """Number, from 1 → record."""
    champion: str
    """Version that the alias names; `NO_VERSION`: none."""

    @property
    def number(self) -> int:
        """Number of the newest record; 0 where there is none."""
        return max(self.moves, default=0)

    @property
    def entries(self) -> list[Move]:
        """Every move, oldest first, those by hand where they show."""
        return self._replayed.entries

    @property
    def champions(self) -> list[str]:
        """The way back: champions that were not rolled back, the present one last; `NO_VERSION`: none, for a while."""
        return self._replayed.champions

    @property
    def rolled_back(self) -> set[str]:
        """Versions that were champion, were left by a rollback, and have not been promoted since."""
        return self._replayed.rolled_back - {NO_VERSION, self.champion}

    def describe_champion(self) -> str:
        """Say who it is and since when, such as `version 5 (promotion of version 5 by ann at …)`."""
        if self.champion == NO_VERSION:
            return NOBODY
        newest = self.moves.get(self.number)
        who = f" ({newest.describe()})" if newest is not None and newest.version == self.champion else ""
        return f"version {self.champion}{who}"

    @cached_property
    def _replayed(self) -> _Replay:
        replay = _Replay()
        for number in sorted(self.moves):
            replay.read(self.moves[number])
        replay.see(self.champion)
        return replay


def record_tag(number: int) -> str:
    """Name the tag of a record.

    >>> record_tag(17)
    'ur4rec.promotion.000017'
    """
    return f"{TAG_RECORD}{number:06d}"


def read_history(name: str, tags: Mapping[str, str], champion: str) -> History:
    """Read the records among the tags of a registered model; its name is for errors.

    Raises:
        RegistryError: A record was altered.
    """
    numbers = {tag: tag.removeprefix(TAG_RECORD) for tag in tags if tag.startswith(TAG_RECORD)}
    moves = {int(number): _parse(name, tag, tags[tag]) for tag, number in numbers.items() if number.isdecimal()}
    return History(moves, champion)


def fetch_history(client: MlflowClient, name: str, alias: str) -> History:
    """Fetch the records and the alias, in one request."""
    model = client.get_registered_model(name)
    champion = model.aliases.get(alias)
    return read_history(name, model.tags, NO_VERSION if champion is None else str(champion))


def _parse(name: str, tag: str, value: str) -> Move:
    try:
        return Move.model_validate_json(value)
    except ValidationError:
        raise RegistryError(
            f"{name}: tag {tag} is not the record of a promotion; it was altered by hand: "
            "delete it in MLflow, the move then shows as one by hand"
        ) from None
