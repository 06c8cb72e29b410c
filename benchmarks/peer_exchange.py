"""What a benchmarked system is given and what it gives back: plain arrays in `.npz` files, nothing pickled.

This module runs in the peers' environment too, so it imports only what `ur4rec.ranking.ranks` needs. B users in a
batch, L positions, U users with a target.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from jaxtyping import Int64

from ur4rec.data.sequences import Histories
from ur4rec.ranking.metrics import metrics_from_ranks
from ur4rec.ranking.ranks import Scorer, rank_users
from ur4rec.storage.artifacts import peak_memory_mb
from ur4rec.storage.temporaries import replacing

HORIZONS = ("validation", "test")
METRIC = "ndcg@10"
BATCH_SIZE = 512
"""Users scored at once, by every system, where the catalogue is not so large that fewer fit into memory."""
SCORES_AT_ONCE = 1 << 27
REPEATS = 3


@dataclass(frozen=True)
class Split:
    """The leave-one-out split, the same for every system."""

    num_items: int
    seen: dict[str, Histories]
    """Horizon → what every user did before the target; that of `validation` is the training data."""
    targets: dict[str, Int64[np.ndarray, "U 3"]]
    """Horizon → rows `user, item, timestamp_s`."""
    excludes_seen: bool = True
    """Whether what a user has had is no candidate."""

    def save(self, path: Path) -> None:
        """Writes the arrays."""
        arrays: dict[str, Any] = {"num_items": np.array(self.num_items), "excludes_seen": np.array(self.excludes_seen)}
        for horizon in HORIZONS:
            histories = self.seen[horizon]
            arrays |= {f"{horizon}_{field.name}": getattr(histories, field.name) for field in fields(Histories)}
            arrays[f"{horizon}_targets"] = self.targets[horizon]
        with replacing(path) as new, new.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            names = [field.name for field in fields(Histories)]
            seen = {horizon: Histories(*(arrays[f"{horizon}_{name}"] for name in names)) for horizon in HORIZONS}
            targets = {horizon: arrays[f"{horizon}_targets"] for horizon in HORIZONS}
            return cls(int(arrays["num_items"]), seen, targets, bool(arrays["excludes_seen"]))

    def rank(self, scorer: Scorer, horizon: str) -> Int64[np.ndarray, "U 2"]:
        """First and last rank of every target in the whole catalogue, without seen items unless these may repeat."""
        seen = self.seen[horizon] if self.excludes_seen else None
        batch_size = max(1, min(BATCH_SIZE, SCORES_AT_ONCE // (self.num_items + 1)))
        return rank_users(scorer, self.targets[horizon], seen, batch_size)


@dataclass
class Point:
    """One validation."""

    epoch: int
    """Epochs trained so far."""
    ndcg: float
    wall_s: float
    """Since training began, validations included."""
    cpu_s: float
    """Of all threads of the process, since training began."""
    validation_s: float
    """Part of `wall_s` that went into validations so far."""
    counted: bool = True
    """Whether this score is the system's own; false for a part of it, such as a stage that trains one module."""

    @classmethod
    def parse(cls, row: Sequence[float]) -> Self:
        """From the numbers of `astuple`."""
        epoch, ndcg, wall_s, cpu_s, validation_s, counted = row
        return cls(int(epoch), ndcg, wall_s, cpu_s, validation_s, bool(counted))


@dataclass(frozen=True)
class Run:
    """What a system measured on itself while it was trained with one setting."""

    curve: tuple[Point, ...]
    ranks: dict[str, Int64[np.ndarray, "U 2"]]
    """Horizon → ranks by the best weights, rows in the order of the targets."""
    preparation_s: float
    """Turning the arrays into the system's own data set and model, before training began."""
    users_per_s: float
    peak_memory_mb: float
    versions: dict[str, str]
    chosen: dict[str, Any] = field(default_factory=dict)
    """What the system itself has chosen on validation."""
    cut_short: bool = False
    """Whether training was ended by the time limit."""

    def save(self, path: Path) -> None:
        """Writes the arrays."""
        columns = np.array([astuple(point) for point in self.curve], dtype=np.float64)
        numbers = np.array([self.preparation_s, self.users_per_s, self.peak_memory_mb])
        facts = {"versions": self.versions, "chosen": self.chosen, "cut_short": self.cut_short}
        arrays: dict[str, Any] = {"curve": columns, "numbers": numbers, "facts": np.array(json.dumps(facts))}
        with replacing(path) as new, new.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays, **self.ranks)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            curve = tuple(Point.parse(row) for row in arrays["curve"].tolist())
            ranks = {horizon: arrays[horizon] for horizon in HORIZONS}
            return cls(curve, ranks, *arrays["numbers"].tolist(), **json.loads(str(arrays["facts"])))

    @property
    def best(self) -> Point:
        """The first validation with the best score of those that count."""
        return max((point for point in self.curve if point.counted), key=lambda point: point.ndcg)


class Recorder:
    """Keeps the curve of a training run; `start` begins the clock.

    Args:
        split: What is validated on.
        name: Whose progress is printed.
        limit_s: Seconds of training after which `must_stop` is true.
        patience: Validations without a better one after which it is true, too.
    """

    def __init__(self, split: Split, name: str, limit_s: float = math.inf, patience: int | None = None) -> None:
        self.split, self.name, self.limit_s, self.patience = split, name, limit_s, patience
        self.curve: list[Point] = []
        self.created = time.perf_counter()
        self.best = -1.0
        self.validation_s = 0.0

    @property
    def is_late(self) -> bool:
        """Whether the time limit is over."""
        return bool(self.curve) and self.curve[-1].wall_s >= self.limit_s

    @property
    def must_stop(self) -> bool:
        """Whether training ends here, by the time limit or for lack of progress."""
        scores = [point.ndcg for point in self.curve if point.counted]
        without = len(scores) - 1 - scores.index(max(scores)) if scores else 0
        return self.is_late or (self.patience is not None and without >= self.patience)

    def start(self) -> None:
        """Training begins now; what went before was preparation."""
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        self.preparation_s = self.wall - self.created

    def validate(self, scorer: Scorer) -> tuple[float, bool]:
        """Ranks the validation targets after an epoch.

        Returns:
            NDCG@10, and whether it is the best so far.
        """
        began = time.perf_counter()
        score = metrics_from_ranks(self.split.rank(scorer, "validation"))[METRIC]
        return score, self.observe(len(self.curve) + 1, score, time.perf_counter() - began)

    def observe(self, epoch: int, score: float, validation_s: float, counted: bool = True) -> bool:
        """Notes a validation that has just ended; returns whether it is the best so far."""
        self.validation_s += validation_s
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        self.curve.append(Point(epoch, score, wall, cpu, self.validation_s, counted))
        print(f"{self.name}: epoch {epoch}, validation {METRIC} {score:.4f}, {wall:.1f} s", flush=True)
        improved = counted and score > self.best
        self.best = max(self.best, score) if counted else self.best
        return improved

    def state(self) -> dict[str, Any]:
        """For `restore`: lists and numbers."""
        clocks = [time.perf_counter() - self.wall, time.process_time() - self.cpu]
        return {"curve": [list(astuple(point)) for point in self.curve], "clocks": clocks}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on with the curve and the clocks of an earlier process; the time between the two does not count."""
        self.curve = [Point.parse(row) for row in state["curve"]]
        self.best = max(point.ndcg for point in self.curve if point.counted)
        self.validation_s = self.curve[-1].validation_s
        wall, cpu = state["clocks"]
        self.wall, self.cpu = time.perf_counter() - wall, time.process_time() - cpu

    def finish(
        self,
        make_scorer: Callable[[Histories], Scorer],
        packages: Sequence[str],
        chosen: Mapping[str, Any] = MappingProxyType({}),
    ) -> Run:
        """Ranks the targets of both horizons with the best weights.

        Args:
            make_scorer: Called with the histories to score from.
            packages: Whose versions are noted.
            chosen: What the system has chosen on validation.
        """
        peak = peak_memory_mb()
        ranks = {horizon: self.split.rank(make_scorer(self.split.seen[horizon]), horizon) for horizon in HORIZONS}
        seconds = min(self._time_ranking(make_scorer) for _ in range(REPEATS))
        rate = len(self.split.targets["test"]) / seconds
        versions = {name: version(name) for name in packages}
        return Run(tuple(self.curve), ranks, self.preparation_s, rate, peak, versions, dict(chosen), self.is_late)

    def _time_ranking(self, make_scorer: Callable[[Histories], Scorer]) -> float:
        began = time.perf_counter()
        self.split.rank(make_scorer(self.split.seen["test"]), "test")
        return time.perf_counter() - began


def pad_histories(
    histories: Histories, users: np.ndarray, length: int, left: bool
) -> tuple[Int64[np.ndarray, "B L"], Int64[np.ndarray, "B"]]:
    """The newest items of every user, oldest first, padded with 0.

    Args:
        histories: Items by user.
        users: User indices, `[B]`.
        length: Positions L.
        left: Whether the padding is on the left.

    Returns:
        Items, and how many of them are not padding.

    >>> histories = Histories(np.array([0, 0, 3, 4]), np.array([7, 8, 9, 5]), np.arange(4))
    >>> [array.tolist() for array in pad_histories(histories, np.array([1, 2]), 2, left=True)]
    [[[8, 9], [0, 5]], [2, 1]]
    >>> pad_histories(histories, np.array([2, 1]), 2, left=False)[0].tolist()
    [[5, 0], [8, 9]]
    """
    rows, positions = histories.find_rows(users, last=length)
    lengths = np.bincount(rows, minlength=len(users))
    columns = np.arange(len(rows)) - (np.cumsum(lengths) - lengths)[rows]
    if left:
        columns += length - lengths[rows]
    window = np.zeros((len(users), length), dtype=np.int64)
    window[rows, columns] = histories.items[positions]
    return window, lengths
