"""Scores a challenger, the champion and the anchor on the same targets, and judges by the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from ur4rec.columns import TIMESTAMP_S
from ur4rec.data.sequences import Sequences
from ur4rec.data.training_extent import find_unseen
from ur4rec.ranking.ranks import ScoreError
from ur4rec.recommender.bundle import Bundle
from ur4rec.registry.gate.judge import (
    check_at_least,
    judge_cost,
    judge_floor,
    judge_lists,
    judge_non_inferiority,
    judge_slices,
    skip,
)
from ur4rec.registry.gate.measurements import (
    Cost,
    LoadedModel,
    Quality,
    UnscorableError,
    find_slices,
    measure_costs,
    measure_popularity_baseline,
    measure_quality,
)
from ur4rec.registry.gate.rules import GateRules
from ur4rec.registry.gate.verdict import FAILED, PASSED, RuleOutcome

CHAMPION, ANCHOR = "champion", "anchor"
AGAINST_CHAMPION = (
    CHAMPION,
    "slice_cold_users",
    "slice_heavy_users",
    "slice_long_tail_items",
    "coverage",
    "popularity_bias",
)
"""Rules that need a champion."""
AS_SERVED = (
    "seen_items differs between the models: each is measured as it serves, and a target that its own rule leaves out "
    "of what it recommends counts as missed"
)


@dataclass(frozen=True)
class Contender:
    """A version in the registry and where its bundle lies."""

    version: str
    bundle: Path | None = None
    problem: str = ""
    """Why there is no bundle."""


@dataclass
class Side:
    """A model, what was measured of it, and what went wrong."""

    role: str
    version: str
    model: LoadedModel | None = None
    quality: Quality | None = None
    cost: Cost | None = None
    problem: str = ""

    def describe(self, data: Sequences) -> str:
        """Write a sentence for the notes."""
        if self.quality is None or self.model is None:
            return f"{self.role} version {self.version} was not scored" + (self.problem and f": {self.problem}")
        known = int(np.isin(data.item_ids[1:], list(self.model.bundle.item_index)).sum())
        rule = "" if self.model.bundle.excludes_seen else ", seen items included"
        return (
            f"{self.role} version {self.version}: NDCG@10 {self.quality.ndcg.mean():.4f}{rule}; "
            f"knows {known:,} of {data.num_items:,} items"
        )


@dataclass(frozen=True)
class Population:
    """The targets that are ranked."""

    kind: Literal["later", "unseen"]
    rows: np.ndarray
    """Positions in the test targets."""
    too_few: bool
    """Whether the rules say that nothing may follow from so few users."""
    compares: bool
    """Whether models may be compared on it."""
    note: str


@dataclass(frozen=True)
class Findings:
    """What the comparison came to."""

    outcomes: list[RuleOutcome]
    notes: list[str] = field(default_factory=list)
    population: Literal["later", "unseen", "none"] = "none"
    num_users: int = 0


def compare(
    data: Sequences,
    challenger: Contender,
    champion: Contender | None,
    anchor: Contender | None,
    rules: GateRules,
    device: str = "cpu",
) -> Findings:
    """Find all that the verdict rests on, from the test targets of `data`; there may be no champion or anchor."""
    pinned = _check_test_data(data, rules)
    side = _load_side("challenger", challenger, device)
    if pinned.failed or side.model is None:
        return Findings([pinned] if pinned.failed else [pinned, _refuse(side)])
    rival = _load_side(CHAMPION, champion, device) if champion else None
    apart = anchor is not None and anchor.version not in {challenger.version, champion.version if champion else None}
    origin = _load_side(ANCHOR, anchor, device) if anchor and apart else None
    sides = [each for each in (side, rival, origin) if each]
    bundles = [each.model.bundle for each in sides if each.model]
    population, differ = _choose_population(data, bundles, rules), len({each.excludes_seen for each in bundles}) > 1
    _measure_sides(sides, data, population.rows, rules.latency_requests, differ)
    outcomes = [
        pinned,
        *_judge_alone(data, population, side, rules, differ),
        *_judge_against_champion(data, population, side, rival, rules),
        *_judge_against_anchor(population, side, anchor, origin, rules),
        *judge_cost(side.cost, rival.cost if rival else None, rules),
    ]
    notes = [population.note, *([AS_SERVED] if differ else []), *(each.describe(data) for each in sides)]
    return Findings(outcomes, notes, population.kind, len(population.rows))


def _load_side(role: str, contender: Contender, device: str = "cpu") -> Side:
    """Load a model; what cannot be loaded is a problem of the side, not an error."""
    side = Side(role, contender.version, problem=contender.problem)
    if contender.bundle is not None:
        try:
            side.model = LoadedModel(contender.bundle, device)
        except UnscorableError as error:
            side.problem = str(error)
    return side


def _measure_sides(
    sides: Sequence[Side], data: Sequences, rows: np.ndarray, num_requests: int, misses_seen: bool
) -> None:
    """Give each loaded side its quality on the targets at `rows` and its cost over some requests, or a problem."""
    for side in sides:
        if side.model is not None and len(rows):
            try:
                scorer = side.model.scorer(data, data.histories("test"))
                side.quality = measure_quality(data, rows, scorer, side.model.bundle.excludes_seen, misses_seen)
            except (UnscorableError, ScoreError) as error:
                side.problem = str(error)
    able = [(side, side.model) for side in sides if side.model is not None and not side.problem]
    costs = measure_costs([model for _, model in able], num_requests)
    for (side, _), cost in zip(able, costs, strict=True):
        side.cost = cost


def _choose_population(data: Sequences, bundles: Sequence[Bundle], rules: GateRules) -> Population:
    """Choose the targets later than everything any model was trained on; where these are few, what the rules name."""
    cutoff = max(int(bundle.manifest.details["training_cutoff_s"]) for bundle in bundles)
    later = np.flatnonzero(data.test[:, TIMESTAMP_S] > cutoff)
    if len(later) >= rules.min_users:
        return Population("later", later, False, True, f"{len(later):,} targets are later than all training")
    few = f"only {len(later):,} targets are later than all training (min_users: {rules.min_users:,})"
    if rules.few_later_users == "fail":
        return Population("later", later, True, False, f"{few}; few_later_users: fail")
    unseen = np.flatnonzero(np.logical_and.reduce([find_unseen(data, data.test, bundle.extent) for bundle in bundles]))
    note = f"{few}; few_later_users: {rules.few_later_users}, {len(unseen):,} targets that no training saw were ranked"
    return Population("unseen", unseen, len(unseen) < rules.min_users, rules.few_later_users == "unseen", note)


def _check_test_data(data: Sequences, rules: GateRules) -> RuleOutcome:
    if rules.test_digest is None:
        return skip("test_data", "no digest is pinned, it is only recorded")
    outcome = PASSED if data.digest == rules.test_digest else FAILED
    detail = f"digest {data.digest}, pinned is {rules.test_digest}"
    return RuleOutcome(rule="test_data", outcome=outcome, detail=detail)


def _judge_alone(
    data: Sequences, population: Population, side: Side, rules: GateRules, misses_seen: bool
) -> list[RuleOutcome]:
    users = check_at_least("users", len(population.rows), rules.min_users, population.note)
    if population.too_few:
        users = users.model_copy(update={"outcome": FAILED})
    popularity = None
    if len(population.rows) and side.model is not None:
        excludes_seen = side.model.bundle.excludes_seen
        popularity = measure_popularity_baseline(data, population.rows, excludes_seen, misses_seen)
    return [users, *([_refuse(side)] if side.problem else []), *judge_floor(side.quality, popularity, rules)]


def _judge_against_champion(
    data: Sequences, population: Population, side: Side, champion: Side | None, rules: GateRules
) -> list[RuleOutcome]:
    if champion is None:
        reason = "there is no champion to compare with"
    elif champion.problem and rules.champion_unscorable == "fail":
        return [_refuse(champion, "champion_unscorable: fail")]
    else:
        reason = _reason_to_skip(population, champion)
    if champion is None or reason:
        return [skip(rule, reason) for rule in AGAINST_CHAMPION]
    return [
        judge_non_inferiority(CHAMPION, side.quality, champion.quality, rules),
        *judge_slices(side.quality, champion.quality, find_slices(data, population.rows), rules),
        *judge_lists(side.quality, champion.quality, rules),
    ]


def _judge_against_anchor(
    population: Population, side: Side, contender: Contender | None, anchor: Side | None, rules: GateRules
) -> list[RuleOutcome]:
    if anchor is None:
        itself = contender and f"version {contender.version} is the anchor, and is in the comparison already"
        return [skip(ANCHOR, itself or "no version has the anchor's alias")]
    if anchor.problem and rules.anchor_unscorable == "fail":
        return [_refuse(anchor, "anchor_unscorable: fail")]
    reason = _reason_to_skip(population, anchor)
    if reason:
        return [skip(ANCHOR, reason)]
    return [judge_non_inferiority(ANCHOR, side.quality, anchor.quality, rules)]


def _reason_to_skip(population: Population, other: Side) -> str:
    if other.problem:
        return f"{other.role} version {other.version} cannot be scored: {other.problem}"
    return "" if population.compares else population.note


def _refuse(side: Side, rule: str = "") -> RuleOutcome:
    detail = f"version {side.version} cannot be scored: {side.problem}"
    return RuleOutcome(rule=f"{side.role}_scored", outcome=FAILED, detail="; ".join(filter(None, [detail, rule])))
