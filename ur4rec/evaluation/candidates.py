"""Candidates of the sampled protocol: a target and items its user never touched, drawn once and kept in files.

He et al. 2017 ("Neural collaborative filtering", section 4.1) rank a target among 100 such items. Metrics on a sample
are no estimate of those on the catalogue and can order systems otherwise (Krichene & Rendle 2020, "On sampled metrics
for item recommendation"), so this is for comparison with work that used it.

T targets, C candidates (C1 = C + 1 columns, the target comes first), N items.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int64

from ur4rec.columns import ITEM, USER
from ur4rec.data.sequences import Histories, Sequences
from ur4rec.evaluation.config import CandidateConfig
from ur4rec.storage.artifacts import check_named, read_artifact_of, write_artifact
from ur4rec.storage.contents import check_array, read_array, refuse_rows, save_array

PRODUCER = "draw_candidates"
CANDIDATES = "candidates"
"""Name of the folder beside `results.json`."""
KEYS_AT_ONCE = 1 << 22

Horizon = Literal["validation", "test"]
FILES: dict[Horizon, str] = {"validation": "validation_candidates.npy", "test": "test_candidates.npy"}


@dataclass(frozen=True)
class Candidates:
    """What every system is ranked on."""

    validation: Int64[np.ndarray, "T C1"]
    """One row a validation target, in their order: the target, then item indices in ascending order; 0 fills up."""
    test: Int64[np.ndarray, "T C1"]
    sha256: dict[str, str]
    """Horizon → sha256 of the file."""

    def at(self, horizon: Horizon) -> Int64[np.ndarray, "T C1"]:
        """Return those of one horizon."""
        return self.validation if horizon == "validation" else self.test


def targets_at(data: Sequences, horizon: Horizon) -> Int64[np.ndarray, "T 3"]:
    """Return the targets of one horizon."""
    return data.val if horizon == "validation" else data.test


def write_candidates(folder: Path, sequences: Path, data: Sequences, config: CandidateConfig) -> Candidates:
    """Draw the candidates of all targets and write them as a folder: two int64 arrays and a manifest.

    An older folder is replaced, by the same bytes if the data, which is the content of `sequences`, and the settings
    are the same.
    """
    touched = data.histories("full")
    with write_artifact(folder, PRODUCER, config, {"sequences": sequences}) as writer:
        # A generator each, so that the candidates of one horizon do not depend on the number of targets of the other.
        for stream, (horizon, name) in enumerate(FILES.items()):
            generator = np.random.default_rng([config.candidate_seed, stream])
            targets = targets_at(data, horizon)
            drawn = draw_candidates(targets, touched, data.num_items, config.num_candidates, generator)
            save_array(writer.folder / name, drawn)
    return load_candidates(folder, data)


def load_candidates(folder: Path, data: Sequences) -> Candidates:
    """Read what `write_candidates` wrote for a data set.

    Raises:
        ArtifactError: A file is missing or altered, another task wrote the folder, or the candidates are not of the
            targets of `data`; names it.
    """
    manifest = read_artifact_of(folder, PRODUCER)
    check_named(folder, manifest, FILES.values())
    arrays: dict[str, np.ndarray] = {}
    for horizon, name in FILES.items():
        targets, drawn = targets_at(data, horizon), np.array(read_array(folder / name, "int64", (None, None)))
        check_array(folder / name, drawn, "int64", (len(targets), 1 + manifest.config.get("num_candidates", 0)))
        _check(folder / name, drawn, targets, data.num_items)
        arrays[horizon] = drawn
    return Candidates(**arrays, sha256={horizon: manifest.files[name] for horizon, name in FILES.items()})


def _check(path: Path, candidates: Int64[np.ndarray, "T C1"], targets: np.ndarray, num_items: int) -> None:
    drawn = candidates[:, 1:]
    refuse_rows(path, candidates[:, 0] != targets[:, ITEM], "the item of the target in front")
    outside = (drawn < 0) | (drawn > num_items) | (drawn == candidates[:, :1])
    refuse_rows(path, outside.any(axis=1), f"other items than the target, up to {num_items:,}")
    unsorted = ((np.diff(drawn, axis=1) <= 0) | (drawn[:, :-1] == 0)) & (drawn[:, 1:] != 0)
    refuse_rows(path, unsorted.any(axis=1), "items that rise, then zeros")


def draw_candidates(
    targets: np.ndarray, touched: Histories, num_items: int, num_candidates: int, generator: np.random.Generator
) -> Int64[np.ndarray, "T C1"]:
    """Draw items for every target, uniformly and without replacement among those that its user never touched.

    Every item gets a random key, and the smallest keys among the untouched items win. A user with fewer untouched items
    gets all of them, and zeros. `touched` are all interactions of every user, targets included.

    Returns:
        The target, then the drawn items in ascending order, then zeros.
    """
    candidates = np.zeros((len(targets), 1 + num_candidates), dtype="<i8")
    candidates[:, 0] = targets[:, ITEM]
    batch_size = max(1, KEYS_AT_ONCE // (num_items + 1))
    for start in range(0, len(targets), batch_size):
        users = np.array(targets[start : start + batch_size, USER])
        drawn = _draw(users, touched, num_items, min(num_candidates, num_items), generator)
        candidates[start : start + len(users), 1 : 1 + drawn.shape[1]] = drawn
    return candidates


def _draw(
    users: np.ndarray, touched: Histories, num_items: int, count: int, generator: np.random.Generator
) -> Int64[np.ndarray, "B C"]:
    keys = generator.random((len(users), num_items + 1))
    rows, positions = touched.find_rows(users)
    keys[:, 0] = np.inf
    keys[rows, touched.items[positions]] = np.inf
    items = np.argpartition(keys, count - 1, axis=1)[:, :count]
    is_touched = np.isinf(np.take_along_axis(keys, items, axis=1))
    # Sorted, because the order of a partition differs between processors.
    items = np.sort(np.where(is_touched, num_items + 1, items), axis=1)
    return np.where(items > num_items, 0, items)
