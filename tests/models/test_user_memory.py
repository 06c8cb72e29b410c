from typing import Any

import pytest
import torch

from ur4rec.models.config import MemoryConfig, UpdateTrigger
from ur4rec.models.user_memory import MemoryState, UserMemory

ITEM_DIM = 4


def make(**fields: Any) -> UserMemory:
    torch.manual_seed(0)
    return UserMemory(3, ITEM_DIM, MemoryConfig(memory_dim=5, max_memory_size=3, **fields))


def read_all(memory: UserMemory, vectors: torch.Tensor, times: torch.Tensor) -> list[MemoryState]:
    """One user, one interaction at a time; the state after each."""
    state, states = memory.empty_state(1), []
    for vector, time in zip(vectors, times, strict=True):
        state = memory.step(state, vector[None], time[None], torch.tensor([True]))
        states.append(state)
    return states


@pytest.fixture
def interactions() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(12, ITEM_DIM, generator=torch.Generator().manual_seed(1)), torch.arange(12) * 3600


def updates(states: list[MemoryState]) -> list[int]:
    return [index for index, state in enumerate(states) if state.interaction_count.item() == 0]


def test_interaction_count_fires_every_threshold(interactions: tuple[torch.Tensor, torch.Tensor]) -> None:
    states = read_all(make(interaction_threshold=5), *interactions)
    assert updates(states) == [4, 9]
    assert states[-1].absorbed.item() == 12
    assert states[-1].interaction_count.item() == 2


def test_time_based_fires_on_elapsed_seconds(interactions: tuple[torch.Tensor, torch.Tensor]) -> None:
    memory = make(update_trigger=UpdateTrigger.TIME_BASED, time_threshold_s=4 * 3600)
    assert updates(read_all(memory, *interactions)) == [4, 8]


def test_drift_fires_at_the_first_interaction_and_when_the_taste_turns() -> None:
    memory = make(update_trigger=UpdateTrigger.DRIFT_THRESHOLD, drift_threshold=2.0)
    vectors = torch.ones(4, ITEM_DIM)
    assert updates(read_all(memory, vectors, torch.arange(4))) == [0]
    eager = make(update_trigger=UpdateTrigger.DRIFT_THRESHOLD, drift_threshold=0.0)
    assert updates(read_all(eager, vectors, torch.arange(4))) == [0, 1, 2, 3]


def test_explicit_fires_only_when_called(interactions: tuple[torch.Tensor, torch.Tensor]) -> None:
    memory = make(update_trigger=UpdateTrigger.EXPLICIT)
    state = read_all(memory, *interactions)[-1]
    assert state.memory_size.item() == 0
    state = memory.force_update(state, torch.ones(1, ITEM_DIM), force=True)
    assert state.memory_size.item() == 1
    assert state.history[0, 0].abs().sum() > 0


def test_ring_keeps_the_newest_states(interactions: tuple[torch.Tensor, torch.Tensor]) -> None:
    states = read_all(make(interaction_threshold=2), *interactions)
    assert states[-1].memory_size.item() == 3
    newest = [states[index].history[0, 0] for index in (11, 9, 7)]
    assert torch.equal(states[-1].history[0], torch.stack(newest))


def test_read_is_the_decayed_mean(interactions: tuple[torch.Tensor, torch.Tensor]) -> None:
    memory = make(interaction_threshold=5, decay_factor=0.5)
    state = read_all(memory, *interactions)[-1]
    expected = (state.history[0, 0] + 0.5 * state.history[0, 1]) / 1.5
    assert torch.allclose(memory.read(state)[0], expected)
    assert not memory.read(memory.empty_state(1)).any()


def test_scan_is_causal_and_skips_inactive_positions(interactions: tuple[torch.Tensor, torch.Tensor]) -> None:
    memory = make(interaction_threshold=2)
    vectors, times = interactions
    active = torch.ones(1, 12, dtype=torch.bool)
    reads, _ = memory.scan(memory.empty_state(1), vectors[None], times[None], active)
    changed = vectors.clone()
    changed[6:] = 9
    others, _ = memory.scan(memory.empty_state(1), changed[None], times[None], active)
    assert torch.equal(reads[:, :6], others[:, :6])
    assert not torch.allclose(reads[:, 7:], others[:, 7:])
    none, state = memory.scan(memory.empty_state(1), vectors[None], times[None], ~active)
    assert not none.any()
    assert state.absorbed.item() == 0


def test_gradients_reach_the_cell_through_a_window(interactions: tuple[torch.Tensor, torch.Tensor]) -> None:
    memory = make(interaction_threshold=5)
    vectors, times = interactions
    reads, _ = memory.scan(memory.empty_state(1), vectors[None], times[None], torch.ones(1, 12, dtype=torch.bool))
    reads.sum().backward()
    assert [name for name, value in memory.named_parameters() if value.grad is None or not value.grad.abs().sum()] == []


def test_unknown_users_share_no_row(interactions: tuple[torch.Tensor, torch.Tensor]) -> None:
    memory = make(interaction_threshold=5)
    state = read_all(memory, *interactions)[-1]
    memory.store(torch.tensor([2]), state)
    memory.store(torch.tensor([0]), state)
    memory.store(torch.tensor([99]), state)
    stored = memory.stored_state(torch.tensor([0, 2, 99, 1]))
    assert stored.absorbed.tolist() == [0, 12, 0, 0]
    assert torch.equal(stored.history[1], state.history[0])


def test_a_representation_without_force_or_trigger_changes_nothing() -> None:
    memory = make(interaction_threshold=3)
    state = memory.empty_state(2)
    after = memory.force_update(state, torch.ones(2, ITEM_DIM), force=False)
    assert all(torch.equal(one, other) for one, other in zip(state.tensors(), after.tensors(), strict=True))
