"""Scores a challenger, the champion and the anchor on the same targets, and judges by the rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ur4rec.data.sequences import Sequences
from ur4rec.registry.gate.judge import (
    check_at_least,
    judge_cost,
    judge_floor,
    judge_lists,
    judge_non_inferiority,
    judge_slices,
    skip,
)
from ur4rec.registry.gate.measurements import find_slices, measure_popularity_baseline
from ur4rec.registry.gate.population import Population, choose_population
from ur4rec.registry.gate.rules import GateRules
from ur4rec.registry.gate.sides import Contender, Side, load_side, measure_sides
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
    """Everything the verdict rests on.

    Args:
        data: The test data; every model is scored on its test targets.
        challenger: Who wants to be champion.
        champion: None: there is none, so the challenger is a first model.
        anchor: None: there is none.
        rules: What is judged by.
        device: Where to compute.
    """
    pinned = _check_test_data(data, rules)
    side = load_side("challenger", challenger, device)
    if pinned.failed or side.model is None:
        return Findings([pinned] if pinned.failed else [pinned, _refuse(side)])
    rival = load_side(CHAMPION, champion, device) if champion else None
    apart = anchor is not None and anchor.version not in {challenger.version, champion.version if champion else None}
    origin = load_side(ANCHOR, anchor, device) if anchor and apart else None
    sides = [each for each in (side, rival, origin) if each]
    population = choose_population(data, [each.model.bundle for each in sides if each.model], rules)
    measure_sides(sides, data, population.rows, rules.latency_requests)
    outcomes = [
        pinned,
        *_judge_alone(data, population, side, rules),
        *_judge_against_champion(data, population, side, rival, rules),
        *_judge_against_anchor(population, side, anchor, origin, rules),
        *judge_cost(side.cost, rival.cost if rival else None, rules),
    ]
    notes = [population.note, *(each.describe(data) for each in sides)]
    return Findings(outcomes, notes, population.kind, len(population.rows))


def _check_test_data(data: Sequences, rules: GateRules) -> RuleOutcome:
    if rules.test_digest is None:
        return skip("test_data", "no digest is pinned, it is only recorded")
    outcome = PASSED if data.digest == rules.test_digest else FAILED
    detail = f"digest {data.digest}, pinned is {rules.test_digest}"
    return RuleOutcome(rule="test_data", outcome=outcome, detail=detail)


def _judge_alone(data: Sequences, population: Population, side: Side, rules: GateRules) -> list[RuleOutcome]:
    users = check_at_least("users", len(population.rows), rules.min_users, population.note)
    if population.too_few:
        users = users.model_copy(update={"outcome": FAILED})
    popularity = measure_popularity_baseline(data, population.rows) if len(population.rows) else None
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
