"""A replay gives the states that reading one interaction after another gives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ur4rec.models import memory_replay
from ur4rec.models.config import MemoryConfig, UpdateTrigger
from ur4rec.models.memory_replay import replay
from ur4rec.models.user_memory import STATE_FIELDS, MemoryState, Runs, UserMemory

ITEM_DIM, NUM_ITEMS, DAY_S = 16, 50, 86_400
FREQUENT = {"interaction_threshold": 2, "time_threshold_s": DAY_S}


def make(trigger: UpdateTrigger, **fields: float) -> UserMemory:
    torch.manual_seed(0)
    config = MemoryConfig.parse({"memory_dim": 16, "max_memory_size": 3, "update_trigger": trigger} | fields, "test")
    return UserMemory(3, ITEM_DIM, config)


def draw(lengths: list[int], seed: int = 1) -> tuple[Tensor, Runs]:
    """Item vectors, and what users did: days without anything, and days with a lot."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.tensor(lengths, dtype=torch.int64)
    items = torch.randint(0, NUM_ITEMS, (sum(lengths),), generator=generator)
    gaps = (torch.rand(len(items), generator=generator) ** 4 * 4 * DAY_S).long()
    vectors = torch.randn(NUM_ITEMS, ITEM_DIM, generator=generator)
    return vectors, Runs(items, 1_700_000_000 + gaps.cumsum(0), sizes.cumsum(0) - sizes, sizes)


@torch.no_grad()
def read_one_by_one(memory: UserMemory, vectors: Tensor, runs: Runs) -> MemoryState:
    """The slow reference: each user alone, one interaction after another."""
    states = []
    for start, length in zip(runs.starts.tolist(), runs.lengths.tolist(), strict=True):
        state = memory.empty_state(1)
        for row in range(start, start + length):
            item, time = runs.items[row : row + 1], runs.timestamps[row : row + 1]
            state = memory.step(state, vectors[item], time, torch.tensor([True]))
        states.append(state)
    return MemoryState(*(torch.cat(parts) for parts in zip(*(state.tensors() for state in states), strict=True)))


@pytest.fixture
def soon_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user of a hundred steps is a long one: the reference is slow."""
    for name, value in {"LONG": 100, "TAILS": (16, 32, 64), "PIECE": 32, "LONG_USERS_AT_ONCE": 1}.items():
        monkeypatch.setattr(memory_replay, name, value)


def assert_equal_states(actual: MemoryState, expected: MemoryState) -> None:
    for name, one, other in zip(STATE_FIELDS, actual.tensors(), expected.tensors(), strict=True):
        if one.is_floating_point():
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5, msg=name)
        else:
            assert torch.equal(one, other), name


def count_steps(memory: UserMemory, read: Callable[[], MemoryState]) -> int:
    """How often the GRU is called."""
    calls: list[None] = []
    handle = memory.cell.register_forward_hook(lambda *_: calls.append(None))
    read()
    handle.remove()
    return len(calls)


@pytest.mark.usefixtures("soon_long")
@pytest.mark.parametrize("trigger", list(UpdateTrigger))
def test_long_and_short_users_are_read_as_one_by_one(trigger: UpdateTrigger) -> None:
    memory = make(trigger, **FREQUENT)
    vectors, runs = draw([3, 0, 700, 40, 1, 0, 513, 7])
    assert_equal_states(replay(memory, vectors, runs), read_one_by_one(memory, vectors, runs))


@pytest.mark.parametrize("trigger", [UpdateTrigger.INTERACTION_COUNT, UpdateTrigger.EXPLICIT])
def test_the_arithmetic_is_that_of_reading_users_together(trigger: UpdateTrigger) -> None:
    memory = make(trigger, interaction_threshold=10)
    vectors, runs = draw([73] * 40)
    state = memory.empty_state(40)
    with torch.no_grad():
        for position in range(73):
            rows = runs.starts + position
            everyone = torch.ones(40, dtype=torch.bool)
            state = memory.step(state, vectors[runs.items[rows]], runs.timestamps[rows], everyone)
    assert all(map(torch.equal, replay(memory, vectors, runs).tensors(), state.tensors()))


@pytest.mark.parametrize("trigger", [UpdateTrigger.INTERACTION_COUNT, UpdateTrigger.TIME_BASED])
def test_a_long_user_adds_few_steps(trigger: UpdateTrigger) -> None:
    memory = make(trigger)
    others, (vectors, runs) = draw([80] * 30)[1], draw([80] * 30 + [100_000])
    without = count_steps(memory, lambda: replay(memory, vectors, others))
    assert count_steps(memory, lambda: replay(memory, vectors, runs)) <= without + 100


def test_pieces_of_a_long_user_are_read_side_by_side() -> None:
    memory = make(UpdateTrigger.DRIFT_THRESHOLD)
    vectors, runs = draw([20_000])
    assert count_steps(memory, lambda: replay(memory, vectors, runs)) <= 4 * memory_replay.PIECE


@pytest.mark.usefixtures("soon_long")
@pytest.mark.parametrize("trigger", list(UpdateTrigger))
def test_a_memory_that_hardly_forgets_is_read_from_the_beginning(trigger: UpdateTrigger) -> None:
    memory = make(trigger, **FREQUENT)
    with torch.no_grad():
        memory.cell.bias_hh[16:32] += 8.0  # the update gate: a step moves the state by a thousandth
    vectors, runs = draw([500, 30])
    assert_equal_states(replay(memory, vectors, runs), read_one_by_one(memory, vectors, runs))


@pytest.mark.usefixtures("soon_long")
@pytest.mark.parametrize("threshold", [0.0, 0.9, 1.1, 2.0])
def test_an_update_long_ago_decides_that_there_was_none_since(threshold: float) -> None:
    memory = make(UpdateTrigger.DRIFT_THRESHOLD, drift_threshold=threshold)
    vectors, runs = draw([600, 150])
    state = replay(memory, vectors, runs)
    assert_equal_states(state, read_one_by_one(memory, vectors, runs))
    assert (int(state.interaction_count.max()) > 100) == (threshold > 0)


@pytest.mark.usefixtures("soon_long")
def test_a_switch_thrown_long_ago_is_seen_by_the_tail() -> None:
    memory = make(UpdateTrigger.INTERACTION_COUNT, interaction_threshold=1)
    vectors, runs = draw([500])
    with torch.no_grad():
        # Unit 0 keeps its sign for good, and item 0, which stands at the beginning alone, turns it.
        for weights in (*memory.cell.parameters(), *memory.input.parameters()):
            weights.mul_(0.1)
        memory.cell.weight_hh[32, 0], memory.cell.bias_hh[0] = 4.0, 6.0
        memory.cell.weight_ih[32, 0], memory.input.weight[0, 0] = 1.0, 1.0
        vectors[1:, 0], vectors[0, 0] = 0.3, -30.0
    items = runs.items.clamp_min(1)
    for first in (0, 1):
        items[3] = first
        switched = Runs(items, runs.timestamps, runs.starts, runs.lengths)
        state = replay(memory, vectors, switched)
        assert_equal_states(state, read_one_by_one(memory, vectors, switched))
        assert (state.history[0, 0, 0] < 0) == (first == 0)


@pytest.mark.usefixtures("soon_long")
def test_time_may_run_backwards() -> None:
    memory = make(UpdateTrigger.TIME_BASED, **FREQUENT)
    vectors, runs = draw([300, 60])
    shuffled = Runs(runs.items, runs.timestamps.flip(0), runs.starts, runs.lengths)
    assert_equal_states(replay(memory, vectors, shuffled), read_one_by_one(memory, vectors, shuffled))


@pytest.mark.parametrize("trigger", list(UpdateTrigger))
def test_nobody_and_nothing(trigger: UpdateTrigger) -> None:
    memory = make(trigger)
    for lengths in ([], [0, 0]):
        state = replay(memory, *draw(lengths))
        assert state.absorbed.tolist() == lengths
        assert not state.history.any()


def test_users_replayed_in_several_parts_are_each_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = make(UpdateTrigger.INTERACTION_COUNT, interaction_threshold=2)
    vectors, runs = draw([3, 0, 7, 5, 1])
    whole = replay(memory, vectors, runs)
    monkeypatch.setattr(memory_replay, "USERS_AT_ONCE", 2)
    parts = replay(memory, vectors, runs)
    assert parts.absorbed.tolist() == [3, 0, 7, 5, 1]
    for one, other in zip(whole.tensors(), parts.tensors(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
