"""The rules of `auto`: which setting follows from which count; `docs/auto.md` says where each rule comes from.

A rule is valid from 5,000 to 10 million interactions and from 50 to a million items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ur4rec.auto.statistics import DataStatistics

Value = int | float | str | tuple[str, ...]

LENGTHS = (10, 20, 50, 100)
SPARSE = 20
"""A median history shorter than this says little of its user."""
READERS_OF_TEXT = ("user_preference", "item_description")
ALL_EXPERTS = (*READERS_OF_TEXT, "item_embedding")
MANY = 500_000
"""Interactions that fill a wider model."""
HUGE = 2_000_000
LARGE_CATALOGUE = 50_000
"""Items whose softmax costs more than all else."""
TARGETS = 15_000_000
"""Targets of a stage at most, where that leaves enough epochs."""
TUNING_TARGETS = 500_000
"""Targets without a better score after which a stage that began near its best ends."""
RATE = 0.256
"""Learning rate times width: the shipped run's .004 at 64."""
TABLE_BYTES = 2**31
"""Memory of the neighbours that the co-occurrence scorer keeps, five folds together."""


@dataclass(frozen=True)
class Choice:
    """What a setting is, and why."""

    value: Value
    reason: str


@dataclass(frozen=True)
class Facts:
    """What the rules read."""

    data: DataStatistics
    settings: Mapping[str, Any]
    """Those that are given, and those that rules before have chosen."""

    @property
    def windows(self) -> int:
        """Return about how many windows an epoch reads."""
        windows = self.data.num_interactions // int(self.settings["max_seq_len"])
        return self.data.num_users if self.settings["windows_per_user"] == "one" else max(self.data.num_users, windows)

    @property
    def batches(self) -> int:
        """Return about how many steps an epoch has."""
        return -(-self.windows // int(self.settings["batch_size"]))

    @property
    def targets(self) -> int:
        """Return about how many targets an epoch has."""
        return min(self.data.num_interactions, self.windows * int(self.settings["max_seq_len"]))

    @property
    def epochs(self) -> int:
        """Return the epochs of a stage."""
        return int(self.settings["epochs_per_stage"])

    @property
    def steps(self) -> int:
        """Return about how many steps a stage has."""
        return self.batches * self.epochs

    @property
    def is_sparse(self) -> bool:
        """Return whether most histories say little of their user."""
        return self.data.median < SPARSE

    @property
    def is_large(self) -> bool:
        """Return whether the interactions fill a wider model."""
        return self.data.num_interactions >= MANY

    @property
    def is_huge(self) -> bool:
        """Return whether there are so many interactions that less regularisation will do."""
        return self.data.num_interactions > HUGE

    @property
    def sparsity(self) -> str:
        """Return why `is_sparse` is what it is."""
        return f"the median history is {self.data.median:,} long, {'under' if self.is_sparse else 'not under'} {SPARSE}"

    @property
    def width(self) -> int:
        """Return the width that the interactions fill."""
        return 128 if self.is_large and self.data.num_items <= 2 * LARGE_CATALOGUE else 64


@dataclass(frozen=True)
class Rule:
    """How a setting follows from the facts, and the reason that is told with it."""

    choose: Callable[[Facts], Value]
    reason: str
    """Its fields are those of `Facts`, and of its data; true for whatever these are."""


def _power_of_two(value: int) -> int:
    """Return the largest power of two that is no larger; 1 at least.

    >>> [_power_of_two(value) for value in (0, 1, 7, 8)]
    [1, 1, 4, 8]
    """
    return 1 << (max(value, 1).bit_length() - 1)


def _clip(value: int, least: int, most: int) -> int:
    return min(max(value, least), most)


DENSITY = "{facts.sparsity}; interactions: {data.num_interactions:,}"
WIDTH = Rule(
    lambda facts: facts.width,
    "interactions: {data.num_interactions:,}, items: {data.num_items:,}; 128 from 500,000 and up to 100,000",
)
RULES: Mapping[str, Rule] = {
    "max_seq_len": Rule(
        lambda facts: next((length for length in LENGTHS if length >= facts.data.long), LENGTHS[-1]),
        "90 % of the histories are at most {data.long:,} long; 10 to 100",
    ),
    "windows_per_user": Rule(lambda facts: "all", "every interaction is a target once an epoch"),
    "batch_size": Rule(
        lambda facts: _clip(_power_of_two(facts.windows // 128), 64, 256),
        "windows in an epoch: about {facts.windows:,}; a 128th of them, 64 to 256",
    ),
    "epochs_per_stage": Rule(
        lambda facts: _clip(TARGETS // max(facts.targets, 1), 10, 60),
        "targets in an epoch: about {facts.targets:,}; as many as make 15,000,000, 10 to 60",
    ),
    "patience": Rule(
        lambda facts: _clip(facts.epochs // 5, 3, 12), "epochs: {facts.epochs:,}; a fifth of them, 3 to 12"
    ),
    "finetune_patience": Rule(
        lambda facts: _clip(round(TUNING_TARGETS / max(facts.targets, 1)), 1, 4),
        "targets in an epoch: about {facts.targets:,}; as many epochs as make 500,000, 1 to 4",
    ),
    "warmup_share": Rule(
        lambda facts: round(min(0.2, max(0.05, 100 / facts.steps)), 2),
        "steps in a stage: about {facts.steps:,}; 100 of them, 5 to 20 %",
    ),
    "sasrec_dropout": Rule(lambda facts: 0.5 if facts.is_sparse else 0.2 if facts.is_large else 0.3, DENSITY),
    "moe_dropout": Rule(lambda facts: 0.3 if facts.is_sparse else 0.1 if facts.is_huge else 0.2, DENSITY),
    "sasrec_hidden_dim": WIDTH,
    "sasrec_item_factors": Rule(
        lambda facts: 128 if facts.data.num_items <= 4 * LARGE_CATALOGUE else 32,
        "items: {data.num_items:,}; 128 up to 200,000, beyond which they take minutes to find",
    ),
    "sasrec_lr": Rule(
        lambda facts: RATE / int(facts.settings["sasrec_hidden_dim"]),
        "0.256 over a width of {facts.settings[sasrec_hidden_dim]}",
    ),
    "retriever_output_dim": WIDTH,
    "retriever_lr": Rule(
        lambda facts: RATE / int(facts.settings["retriever_output_dim"]),
        "0.256 over a width of {facts.settings[retriever_output_dim]}",
    ),
    "memory_dim": WIDTH,
    "moe_experts": Rule(lambda facts: READERS_OF_TEXT if facts.is_sparse else ALL_EXPERTS, "{facts.sparsity}"),
    "id_bound": Rule(lambda facts: 0.5 if facts.is_sparse else 0.0, "{facts.sparsity}"),
    "num_negatives": Rule(
        lambda facts: 0 if facts.data.num_items <= LARGE_CATALOGUE else 1024,
        "items: {data.num_items:,}; up to 50,000 a softmax over all of them",
    ),
    "cooccurrence_window": Rule(
        lambda facts: 5 if facts.is_huge else 10,
        "interactions: {data.num_interactions:,}; 10 up to 2,000,000",
    ),
    "cooccurrence_neighbors": Rule(
        lambda facts: _clip(_power_of_two(TABLE_BYTES // (40 * facts.data.num_items)), 16, 256),
        "items: {data.num_items:,}; 40 bytes a neighbour, at most 2 GiB in all, 16 to 256",
    ),
    "snapshot_base": Rule(
        lambda facts: min(8, _power_of_two(facts.data.short)),
        "90 % of the users have {data.short:,} or more interactions to write from; a power of two, 1 to 8",
    ),
    "interaction_threshold": Rule(
        lambda facts: _clip(facts.data.median // 5, 2, 10),
        "the median history is {data.median:,} long; a fifth of it, 2 to 10",
    ),
}
"""Setting that may be left to the data → its rule, after those that it reads the settings of."""


def choose(data: DataStatistics, given: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Choice]:
    """Return what every setting that may be left to the data and is not given is for these, with the reason.

    >>> data = DataStatistics(1000, 500, 90_000, short=18, median=60, long=210)
    >>> choose(data)["patience"].value, choose(data, {"epochs_per_stage": 20})["patience"].value
    (12, 4)
    """
    settings = dict(given)
    facts, choices = Facts(data, settings), {}
    for name, rule in RULES.items():
        if name not in given:
            choices[name] = Choice(rule.choose(facts), rule.reason.format(facts=facts, data=data))
            settings[name] = choices[name].value
    return choices
