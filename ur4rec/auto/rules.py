"""The rules of `auto`: which setting follows from which count; `docs/auto.md` says where each rule comes from.

A rule is valid from 5,000 to 10 million interactions and from 50 to a million items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ur4rec.auto.statistics import DataStatistics

Value = int | float | str | tuple[str, ...]

LENGTHS = (10, 20, 50, 100, 200)
SPARSE = 20
"""A median history shorter than this says little of its user."""
READERS_OF_TEXT = ("user_preference", "item_description")
ALL_EXPERTS = (*READERS_OF_TEXT, "item_embedding")
MANY = 500_000
"""Interactions that fill a wider model."""
HUGE = 2_000_000
LARGE_CATALOGUE = 50_000
"""Items whose softmax costs more than all else."""
STEPS = 20_000
"""Steps of a stage at most, where that leaves enough epochs."""
TABLE_BYTES = 2**31
"""Memory of the neighbours that the co-occurrence scorer keeps, five folds together."""


@dataclass(frozen=True)
class Choice:
    """What a setting is, and why."""

    value: Value
    reason: str


@dataclass(frozen=True)
class Rule:
    """How a setting follows from the data, and the reason that is told with it."""

    choose: Callable[[DataStatistics], Value]
    reason: str
    """Its fields are `data` and what `_derive` names."""


def _length(data: DataStatistics) -> int:
    return next((length for length in LENGTHS if length >= data.long), LENGTHS[-1])


def _windows(data: DataStatistics) -> int:
    return max(data.num_users, data.num_interactions // _length(data))


def _batch(data: DataStatistics) -> int:
    return _clip(_power_of_two(_windows(data) // 64), 64, 256)


def _batches(data: DataStatistics) -> int:
    return -(-_windows(data) // _batch(data))


def _epochs(data: DataStatistics) -> int:
    return _clip(STEPS // _batches(data), 10, 60)


def _warmup(data: DataStatistics) -> float:
    return round(min(0.2, max(0.05, 100 / (_batches(data) * _epochs(data)))), 2)


def _width(data: DataStatistics) -> int:
    return 128 if data.num_interactions >= MANY and data.num_items <= 2 * LARGE_CATALOGUE else 64


def _power_of_two(value: int) -> int:
    """Return the largest power of two that is no larger; 1 at least.

    >>> [_power_of_two(value) for value in (0, 1, 7, 8)]
    [1, 1, 4, 8]
    """
    return 1 << (max(value, 1).bit_length() - 1)


def _clip(value: int, least: int, most: int) -> int:
    return min(max(value, least), most)


RULES: Mapping[str, Rule] = {
    "max_seq_len": Rule(_length, "90 % of the histories have at most {data.long:,} interactions; 200 at most"),
    "windows_per_user": Rule(lambda data: "all", "every interaction is a target once an epoch"),
    "batch_size": Rule(_batch, "{windows:,} windows an epoch"),
    "epochs_per_stage": Rule(_epochs, "{batches:,} steps an epoch, about {limit:,} steps a stage at most"),
    "patience": Rule(lambda data: _clip(_epochs(data) // 5, 3, 12), "a fifth of {epochs} epochs, 3 to 12"),
    "warmup_share": Rule(_warmup, "at least 100 of {steps:,} steps, 5 to 20 %"),
    "sasrec_dropout": Rule(
        lambda data: 0.5 if data.median < SPARSE else 0.2 if data.num_interactions > HUGE else 0.3, "{density}"
    ),
    "moe_dropout": Rule(
        lambda data: 0.3 if data.median < SPARSE else 0.1 if data.num_interactions > HUGE else 0.2, "{density}"
    ),
    "sasrec_hidden_dim": Rule(_width, "{size}"),
    "sasrec_item_factors": Rule(
        lambda data: 128 if data.num_items <= 4 * LARGE_CATALOGUE else 32,
        "{data.num_items:,} items; beyond 200,000 fewer factors, which take minutes to find",
    ),
    "retriever_output_dim": Rule(_width, "{size}"),
    "memory_dim": Rule(_width, "{size}"),
    "moe_experts": Rule(lambda data: READERS_OF_TEXT if data.median < SPARSE else ALL_EXPERTS, "{density}"),
    "id_bound": Rule(lambda data: 0.5 if data.median < SPARSE else 0.0, "{density}"),
    "num_negatives": Rule(
        lambda data: 0 if data.num_items <= LARGE_CATALOGUE else 1024,
        "{data.num_items:,} items; up to 50,000 a softmax over all of them",
    ),
    "cooccurrence_window": Rule(
        lambda data: 5 if data.num_interactions > HUGE else 10, "{data.num_interactions:,} interactions"
    ),
    "cooccurrence_neighbors": Rule(
        lambda data: _clip(_power_of_two(TABLE_BYTES // (40 * data.num_items)), 16, 256),
        "{data.num_items:,} items; 40 bytes a neighbour, 2 GiB in all",
    ),
    "snapshot_base": Rule(
        lambda data: min(8, _power_of_two(data.short)),
        "90 % of the users have at least {data.short:,} interactions to write from; a power of two, 8 at most",
    ),
    "interaction_threshold": Rule(
        lambda data: _clip(data.median // 5, 2, 10), "a fifth of the median history of {data.median:,}, 2 to 10"
    ),
}
"""Setting that may be left to the data → its rule."""


def choose(data: DataStatistics) -> dict[str, Choice]:
    """Return what every setting that may be left to the data is for these, with the reason.

    >>> choose(DataStatistics(1000, 500, 90_000, short=18, median=60, long=210))["snapshot_base"].value
    8
    """
    told = _derive(data)
    return {name: Choice(rule.choose(data), rule.reason.format(**told)) for name, rule in RULES.items()}


def _derive(data: DataStatistics) -> dict[str, object]:
    density = f"the median history has {data.median:,} interactions, all together {data.num_interactions:,}"
    return {
        "data": data,
        "windows": _windows(data),
        "batches": _batches(data),
        "epochs": _epochs(data),
        "steps": _batches(data) * _epochs(data),
        "limit": STEPS,
        "density": density,
        "size": f"{data.num_interactions:,} interactions, {data.num_items:,} items",
    }
