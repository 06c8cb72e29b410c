"""How often the gate promotes what: shares of challengers by how much better or worse they truly are.

Users are drawn from the test users of a real data set, each with the NDCG@10 that models of several seeds give the very
same user, so variance, correlation between models and the slices are those of the data. Which seed plays the champion
and which the challenger is drawn anew for every user: both are then exactly equally good. A true difference is made by
turning a share of the challenger's hits into misses, or of its misses into hits. Rules and judge are the gate's own.

    python -m benchmarks.gate_operating_curve SEQUENCES CHECKPOINT CHECKPOINT…

Letters: T test users, S seeds, U drawn users.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.models.config import Part
from ur4rec.ranking.metrics import per_user_metrics
from ur4rec.ranking.ranks import rank_users
from ur4rec.registry.gate.judge import judge_non_inferiority, judge_slices
from ur4rec.registry.gate.measurements import METRIC, Quality, find_slices
from ur4rec.registry.gate.rules import GateRules, load_rules
from ur4rec.terminal import PlainConsole
from ur4rec.training.checkpoints import load_model
from ur4rec.training.scoring import ModelScorer

DIFFERENCES = (-0.2, -0.1, -0.05, 0.0, 0.05)
TRIALS = {943: 600, 10_000: 200, 100_000: 60}
"""Drawn users → simulated gates."""
SLICES = ("cold_users", "heavy_users", "long_tail_items")
COLLAPSED = ("heavy_users", -0.5)
"""The scenario in which a slice loses and the others make up for it."""
STEPS, CHAINS = 10, 100
TRAINING_NOISE = 0.02
"""Standard deviation of the true quality of retrains of one recipe, relative."""
DECLINE = -0.03
SIMULATED_RESAMPLES = 1000
MIN_CHECKPOINTS = 2


@dataclass(frozen=True)
class Population:
    """Real users: what each seed's model scored, and their slices."""

    ndcg: np.ndarray
    """`[T, S]`."""
    slices: dict[str, np.ndarray]
    """Whether a user is in the slice, bool `[T]`."""


@dataclass(frozen=True)
class Draw:
    """Users of one simulated gate and equally good models."""

    values: np.ndarray
    """`[U, S]`, every row in an order of its own."""
    slices: dict[str, np.ndarray]


class Simulation:
    """Draws users and asks the gate's judge.

    Args:
        population: Real users.
        rules: The gate's.
    """

    def __init__(self, population: Population, rules: GateRules) -> None:
        self._population, self._rules = population, rules
        self._source = np.random.default_rng(0)

    def draw(self, num_users: int) -> Draw:
        """Users with replacement, the seeds' values of each in random order."""
        rows = self._source.integers(len(self._population.ndcg), size=num_users)
        values = self._source.permuted(self._population.ndcg[rows], axis=1)
        return Draw(values, {name: inside[rows] for name, inside in self._population.slices.items()})

    def change(self, values: np.ndarray, difference: float) -> np.ndarray:
        """Values whose true mean is `1 + difference` times that of the given ones."""
        if difference <= 0:
            return np.where(self._source.random(len(values)) < -difference, 0.0, values)
        hits = self._population.ndcg[self._population.ndcg > 0]
        share_of_misses = 1 - len(hits) / self._population.ndcg.size
        new = (values == 0) & (self._source.random(len(values)) < difference * (1 / share_of_misses - 1))
        return np.where(new, self._source.choice(hits, size=len(values)), values)

    def challenge(self, draw: Draw, difference: float) -> np.ndarray:
        """Return the values of a challenger that differs from the champion everywhere."""
        return self.change(draw.values[:, 0], difference)

    def collapse(self, draw: Draw) -> np.ndarray:
        """A challenger as good as the champion overall, that has lost a slice."""
        name, loss = COLLAPSED
        inside, challenger = draw.slices[name], draw.values[:, 0]
        share = self._population.ndcg[self._population.slices[name]].sum() / self._population.ndcg.sum()
        gain = -loss * share / (1 - share)
        return np.where(inside, self.change(challenger, loss), self.change(challenger, gain))

    def promotes(self, draw: Draw, challenger: np.ndarray, champion: np.ndarray, anchor: np.ndarray | None) -> bool:
        """Whether no rule on quality fails."""
        new, old = _quality(challenger), _quality(champion)
        if judge_non_inferiority("champion", new, old, self._rules).failed:
            return False
        if anchor is not None and judge_non_inferiority("anchor", new, _quality(anchor), self._rules).failed:
            return False
        slices = {name: np.flatnonzero(draw.slices[name]) for name in SLICES}
        return not any(outcome.failed for outcome in judge_slices(new, old, slices, self._rules))

    def share_promoted(self, num_users: int, trials: int, challenge: Callable[[Draw], np.ndarray]) -> float:
        """Of challengers against a champion that is the anchor, too."""
        promoted = 0
        for _ in range(trials):
            draw = self.draw(num_users)
            promoted += self.promotes(draw, challenge(draw), draw.values[:, 1], None)
        return promoted / trials

    def chain(self, num_users: int, retrain: Callable[[float], float], anchored: bool) -> tuple[float, int]:
        """True quality of the champion after ten retrains, relative to the first; and how many were promoted.

        Args:
            num_users: New users judge every retrain.
            retrain: Quality of the champion → true quality of the next challenger.
            anchored: Whether the first champion stays the anchor.
        """
        quality, promotions = 0.0, 0
        for _ in range(STEPS):
            draw, new = self.draw(num_users), retrain(quality)
            champion, anchor = self.change(draw.values[:, 1], quality), draw.values[:, 2]
            compared = anchor if anchored and promotions else None
            if self.promotes(draw, self.change(draw.values[:, 0], new), champion, compared):
                quality, promotions = new, promotions + 1
        return quality, promotions

    def chains(self, num_users: int, retrain: Callable[[float], float], anchored: bool) -> tuple[np.ndarray, float]:
        """Final qualities of many chains, and the mean number of promotions."""
        ends = [self.chain(num_users, retrain, anchored) for _ in range(CHAINS)]
        return np.array([quality for quality, _ in ends]), float(np.mean([promotions for _, promotions in ends]))

    def noise(self, quality: float) -> float:
        """A retrain of the same recipe."""
        return float(self._source.normal(0, TRAINING_NOISE))


def rank_population(data: Sequences, checkpoints: Iterable[Path], part: Part | None) -> Population:
    """Scores every test user with the model of every checkpoint, or with a part of it."""
    seen, targets = data.histories("test"), np.asarray(data.test)
    scorers = (ModelScorer(load_model(path), seen, part.value if part else None) for path in checkpoints)
    columns = [per_user_metrics(rank_users(scorer, targets, seen, 256))[METRIC] for scorer in scorers]
    inside = {}
    for name, positions in find_slices(data, np.arange(len(targets))).items():
        inside[name] = np.zeros(len(targets), dtype=bool)
        inside[name][positions] = True
    return Population(np.stack(columns, axis=1), inside)


def describe(population: Population) -> str:
    """What the curve depends on: means, spread of the paired difference."""
    means = population.ndcg.mean(axis=0)
    first, second = population.ndcg[:, 0], population.ndcg[:, 1]
    spread, correlation = (first - second).std(), np.corrcoef(first, second)[0, 1]
    return (
        f"{len(first):,} users; NDCG@10 of the seeds {', '.join(f'{mean:.4f}' for mean in means)}; "
        f"difference of the first two for a user: standard deviation {spread:.4f}, correlation {correlation:.2f}"
    )


def tabulate_curve(simulation: Simulation, rules: GateRules) -> list[str]:
    """A row a number of users."""
    name, loss = COLLAPSED
    heads = [f"{difference:+.0%}" for difference in DIFFERENCES] + [f"0, {name.replace('_', ' ')} {loss:+.0%}"]
    lines = [f"| users | margin | {' | '.join(heads)} |", "|---:|---:|" + "---:|" * len(heads)]
    for num_users, trials in TRIALS.items():
        shares = [
            simulation.share_promoted(num_users, trials, partial(simulation.challenge, difference=difference))
            for difference in DIFFERENCES
        ]
        shares.append(simulation.share_promoted(num_users, trials, simulation.collapse))
        cells = " | ".join(f"{share:.1%}" for share in shares)
        lines.append(f"| {num_users:,} | {rules.margin(num_users):.0%} | {cells} |")
    return lines


def tabulate_chains(simulation: Simulation, num_users: int) -> list[str]:
    """Ten successive retrains, with and without the anchor."""
    lines = ["| ten retrains | anchor | promoted | end: mean | 5 % | 95 % |", "|---|---|---:|---:|---:|---:|"]
    recipes: tuple[tuple[str, Callable[[float], float]], ...] = (
        (f"equally good, training noise {TRAINING_NOISE:.0%}", simulation.noise),
        (f"each {DECLINE:+.0%} on the champion", lambda quality: (1 + quality) * (1 + DECLINE) - 1),
    )
    for label, retrain in recipes:
        for anchored in (True, False):
            ends, promotions = simulation.chains(num_users, retrain, anchored)
            low, high = np.quantile(ends, (0.05, 0.95))
            cells = f"{promotions:.1f} | {ends.mean():+.1%} | {low:+.1%} | {high:+.1%}"
            lines.append(f"| {label} | {'yes' if anchored else 'no'} | {cells} |")
    return lines


def main(
    sequences: Annotated[Path, typer.Argument(help="Sequences folder.", exists=True, file_okay=False)],
    checkpoints: Annotated[
        list[Path],
        typer.Argument(help="Checkpoint folders of one recipe with different seeds: two, with retrains three."),
    ],
    part: Annotated[
        Part | None, typer.Option(help="Score this part alone; pretrain_sasrec has trained no other.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="Override one rule; may be repeated.", metavar="KEY=VALUE")
    ] = None,
) -> None:
    """Prints the operating curve and, from three checkpoints on, what becomes of ten retrains, as Markdown."""
    if len(checkpoints) < MIN_CHECKPOINTS:
        raise typer.BadParameter("expected two or more: a champion and a challenger, and for retrains an anchor")
    overrides = dict(setting.split("=", 1) for setting in settings or [])
    rules = load_rules(overrides={"bootstrap_samples": SIMULATED_RESAMPLES} | overrides)
    population = rank_population(load_sequences(sequences), checkpoints, part)
    console = PlainConsole(soft_wrap=True, highlight=False, markup=False)
    console.print(describe(population), "", *tabulate_curve(Simulation(population, rules), rules), sep="\n")
    if len(checkpoints) > MIN_CHECKPOINTS:
        console.print("", *tabulate_chains(Simulation(population, rules), min(TRIALS)), sep="\n")


def _quality(ndcg: np.ndarray) -> Quality:
    return Quality(ndcg, coverage=1.0, popularity=0.5)


if __name__ == "__main__":
    typer.run(main)
