"""The memory of a user is the same however interactions arrive, stays as it is when read, and survives a restart."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from present import present
from torch import Tensor

from ur4rec.models.config import UpdateTrigger
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.models.user_memory import STATE_FIELDS, MemoryState, Runs

NUM_USERS, NUM_ITEMS, LONGEST, MAX_LEN = 1000, 40, 24, 5
SMALL = {
    "sasrec_hidden_dim": 4,
    "sasrec_num_blocks": 1,
    "sasrec_item_factors": 4,
    "retriever_output_dim": 8,
    "text_components": 4,
    "max_seq_len": MAX_LEN,
    "memory_dim": 6,
    "max_memory_size": 3,
    "interaction_threshold": 3,
    "drift_threshold": 0.3,
    "time_threshold_s": 25,
    "cooccurrence_neighbors": 0,
}
USERS = torch.arange(1, NUM_USERS + 1)


def make(trigger: UpdateTrigger, **fields: Any) -> UR4RecV2MoE:
    """A model whose item vectors are far apart and whose memory moves far with each of them."""
    torch.manual_seed(0)
    model = UR4RecV2MoE(NUM_ITEMS, NUM_USERS, update_trigger=trigger, **(SMALL | fields))
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.5 * torch.randn(value.shape))
    model.retriever.encoder.text.fill(
        torch.randn(NUM_ITEMS + 1, 5), torch.randn(4, 5), torch.tensor([0, 2, 4]), torch.tensor([[1, 2], [1, 5]]), 2
    )
    return model.eval()


@pytest.fixture(scope="module")
def histories() -> tuple[Tensor, Tensor, Tensor]:
    """Items and timestamps `[U, LONGEST]`, padded behind the sequence, and their lengths; a third of the gaps are 0."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(0, LONGEST + 1, (NUM_USERS,), generator=generator)
    items = torch.randint(1, NUM_ITEMS + 1, (NUM_USERS, LONGEST), generator=generator)
    times = 1000 + torch.randint(0, 3, (NUM_USERS, LONGEST), generator=generator).cumsum(1) * 10
    inside = torch.arange(LONGEST) < lengths[:, None]
    return items * inside, times * inside, lengths


@torch.no_grad()
def replay(model: UR4RecV2MoE, histories: tuple[Tensor, Tensor, Tensor]) -> MemoryState:
    items, times, lengths = histories
    inside = items > 0
    return present(model.retriever.replay(Runs(items[inside], times[inside], lengths.cumsum(0) - lengths, lengths)))


@torch.no_grad()
def step_by_step(model: UR4RecV2MoE, histories: tuple[Tensor, Tensor, Tensor]) -> MemoryState:
    items, times, lengths = histories
    memory, vectors = present(model.retriever.memory), model.retriever.encoder.item_side().directions()
    state = memory.empty_state(NUM_USERS)
    for position in range(LONGEST):
        state = memory.step(state, vectors[items[:, position]], times[:, position], position < lengths)
    return state


@torch.no_grad()
def feed(model: UR4RecV2MoE, histories: tuple[Tensor, Tensor, Tensor], sizes: Tensor, overlap: int) -> MemoryState:
    """Calls of the model with the next `sizes` interactions of each user, behind up to `overlap` that it has read."""
    items, times, lengths = histories
    for column in range(sizes.shape[1]):
        begin, end = (sizes[:, :stop].sum(1).minimum(lengths) for stop in (column, column + 1))
        rows = (end > begin).nonzero().squeeze(1)
        if not len(rows):
            break
        begin, end = (begin[rows] - overlap).clamp_min(0), end[rows]
        places = begin[:, None] + torch.arange(int((end - begin).max()))
        inside, places = places < end[:, None], places.clamp_max(LONGEST - 1)
        window = items[rows].gather(1, places) * inside, times[rows].gather(1, places) * inside
        model(USERS[rows], window[0], timestamps=window[1], seq_end=end, update_memory=True)
    return present(model.retriever.memory).stored_state(USERS)


def assert_equal_states(actual: MemoryState, expected: MemoryState) -> None:
    for name, one, other in zip(STATE_FIELDS, actual.tensors(), expected.tensors(), strict=True):
        if one.is_floating_point():
            assert torch.allclose(one, other, rtol=1e-5, atol=1e-5), name
        else:
            assert torch.equal(one, other), name


@pytest.mark.parametrize("trigger", list(UpdateTrigger))
class TestStreamingEqualsBatch:
    def test_one_step_at_a_time(self, histories: tuple[Tensor, Tensor, Tensor], trigger: UpdateTrigger) -> None:
        model = make(trigger)
        state = replay(model, histories)
        assert_equal_states(step_by_step(model, histories), state)
        assert torch.equal(state.absorbed, histories[2])
        # It is a test of updates: some users have had several, others none.
        fires = trigger is not UpdateTrigger.EXPLICIT
        assert state.memory_size.unique().tolist() == ([0, 1, 2, 3] if fires else [0])

    def test_one_call_an_interaction(self, histories: tuple[Tensor, Tensor, Tensor], trigger: UpdateTrigger) -> None:
        model = make(trigger)
        sizes = torch.ones(NUM_USERS, LONGEST, dtype=torch.int64)
        assert_equal_states(feed(model, histories, sizes, overlap=1), replay(model, histories))

    def test_one_call_a_chunk(self, histories: tuple[Tensor, Tensor, Tensor], trigger: UpdateTrigger) -> None:
        model = make(trigger)
        # Chunks of 1 to 3 and up to 2 known interactions before them fit in a window; enough to reach the longest.
        sizes = torch.randint(1, 4, (NUM_USERS, LONGEST), generator=torch.Generator().manual_seed(2))
        assert_equal_states(feed(model, histories, sizes, overlap=2), replay(model, histories))


@pytest.mark.parametrize("trigger", list(UpdateTrigger))
def test_reading_leaves_the_bytes_of_the_file(
    tmp_path: Path, histories: tuple[Tensor, Tensor, Tensor], trigger: UpdateTrigger
) -> None:
    model = make(trigger)
    items, times, lengths = histories
    present(model.retriever.memory).store(USERS, replay(model, histories))
    model.save_memories(tmp_path / "before.pt")
    for end in (None, lengths, lengths + 7):
        model(USERS, items, timestamps=times, seq_end=end, update_memory=False)
    model.save_memories(tmp_path / "after.pt")
    assert (tmp_path / "before.pt").read_bytes() == (tmp_path / "after.pt").read_bytes()
    model(USERS, items, timestamps=times, seq_end=lengths + 7, update_memory=True)
    model.save_memories(tmp_path / "written.pt")
    assert (tmp_path / "before.pt").read_bytes() != (tmp_path / "written.pt").read_bytes()


ANOTHER_PROCESS = """
import json, pathlib, sys, torch
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE

folder = pathlib.Path(sys.argv[1])
inputs = torch.load(folder / "inputs.pt")
for path in sorted(folder.glob("*.json")):
    model = UR4RecV2MoE(**json.loads(path.read_text()))
    model.load_state_dict(torch.load(path.with_suffix(".model.pt")))
    model.load_memories(path.with_suffix(".memories.pt"))
    scores, _ = model.eval()(**inputs, update_memory=False)
    torch.save((scores, model.get_memory_stats()), path.with_suffix(".scores.pt"))
"""


def test_a_new_process_gives_the_same_scores(tmp_path: Path, histories: tuple[Tensor, Tensor, Tensor]) -> None:
    items, times, lengths = histories
    # Users with a stored memory, and two without.
    some = torch.cat([USERS[:50], torch.tensor([0, NUM_USERS + 7])])
    inputs = {"user_ids": some, "input_seq": items[:52], "timestamps": times[:52], "seq_end": lengths[:52]}
    torch.save(inputs, tmp_path / "inputs.pt")
    expected = {}
    for trigger in UpdateTrigger:
        model = make(trigger)
        present(model.retriever.memory).store(USERS, replay(model, histories))
        fields = {"num_items": NUM_ITEMS, "num_users": NUM_USERS, "update_trigger": trigger.value, **SMALL}
        (tmp_path / f"{trigger}.json").write_text(json.dumps(fields))
        torch.save(model.state_dict(), tmp_path / f"{trigger}.model.pt")
        model.save_memories(tmp_path / f"{trigger}.memories.pt")
        with torch.no_grad():
            expected[trigger] = model(**inputs, update_memory=False)[0], model.get_memory_stats()
    subprocess.run([sys.executable, "-c", ANOTHER_PROCESS, str(tmp_path)], check=True, timeout=250)
    for trigger, (scores, statistics) in expected.items():
        loaded = torch.load(tmp_path / f"{trigger}.scores.pt")
        assert torch.equal(loaded[0], scores)
        assert loaded[1] == statistics
    differing = {tuple(scores[:, 1:].flatten().tolist()) for scores, _ in expected.values()}
    assert len(differing) == len(expected)
