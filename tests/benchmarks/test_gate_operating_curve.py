from functools import partial

import numpy as np
import pytest

from benchmarks.gate_operating_curve import SLICES, Population, Simulation
from ur4rec.registry.gate.rules import load_rules

NUM_USERS = 2000


@pytest.fixture
def population() -> Population:
    """Three seeds that agree on most users; the first half of the users has shorter histories."""
    source = np.random.default_rng(4)
    shared, hit = source.random((NUM_USERS, 1)) < 0.2, source.random((NUM_USERS, 3)) < 0.03
    first = np.arange(NUM_USERS) < NUM_USERS // 2
    return Population((shared | hit).astype(float), dict(zip(SLICES, (first, ~first, first), strict=True)))


@pytest.fixture
def simulation(population: Population) -> Simulation:
    return Simulation(population, load_rules(overrides={"bootstrap_samples": 1000}))


@pytest.mark.parametrize("difference", [-0.2, 0.0, 0.05])
def test_the_true_difference_is_the_one_asked_for(simulation: Simulation, difference: float) -> None:
    before = simulation.draw(200_000).values[:, 0]
    after = simulation.change(before, difference)
    assert after.mean() / before.mean() - 1 == pytest.approx(difference, abs=0.01)


def test_all_parts_are_equally_good_for_every_user(simulation: Simulation, population: Population) -> None:
    draw = simulation.draw(100_000)
    assert draw.values.mean(axis=0) == pytest.approx(population.ndcg.mean(), abs=0.005)


def test_a_collapse_leaves_the_mean_and_takes_from_the_slice(simulation: Simulation) -> None:
    draw = simulation.draw(200_000)
    inside, after = draw.slices["heavy_users"], simulation.collapse(draw)
    assert after.mean() == pytest.approx(draw.values[:, 0].mean(), rel=0.02)
    assert after[inside].mean() / draw.values[inside, 0].mean() - 1 == pytest.approx(-0.5, abs=0.02)


def test_worse_challengers_are_promoted_less_often(simulation: Simulation) -> None:
    shares = [
        simulation.share_promoted(943, 20, partial(simulation.challenge, difference=difference))
        for difference in (-0.3, 0.0, 0.3)
    ]
    assert shares[0] == 0
    assert shares[0] <= shares[1] <= shares[2] == 1


def test_the_anchor_stops_a_decline(population: Population) -> None:
    simulation = Simulation(population, load_rules(overrides={"bootstrap_samples": 1000, "margin_by_users": {0: 0.06}}))
    anchored, _ = simulation.chain(20_000, lambda quality: quality - 0.04, anchored=True)
    alone, _ = simulation.chain(20_000, lambda quality: quality - 0.04, anchored=False)
    assert -0.05 < anchored <= 0
    assert alone < -0.15
