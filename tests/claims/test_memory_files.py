"""Memories in files: mapped, private, written whole or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from present import present
from torch import Tensor

from ur4rec.models.config import MemoryConfig
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.models.user_memory import STATE_FIELDS, UserMemory

needs_proc = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads Linux's view of this process")


def make(num_users: int = 3, **fields: Any) -> UR4RecV2MoE:
    torch.manual_seed(0)
    return UR4RecV2MoE(num_items=5, num_users=num_users, memory_dim=4, retriever_output_dim=4, **fields)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[UR4RecV2MoE, Path]:
    model = make()
    model.update_memory(torch.tensor([1, 3]), torch.randn(2, 4), force=True)
    model.save_memories(tmp_path / "memories.pt")
    return model, tmp_path / "memories.pt"


def find_mapping(address: int) -> str:
    """What is mapped at an address; empty for plain memory."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, *_, name = line.split(maxsplit=5) if line.count("/") else (*line.split(maxsplit=5), "")
        begin, end = (int(bound, 16) for bound in span.split("-"))
        if begin <= address < end:
            return name.strip()
    raise AssertionError(f"nothing at {address:x}")


def resident_bytes() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(fields["RssAnon"].split()[0])


def test_what_was_saved_is_loaded(saved: tuple[UR4RecV2MoE, Path]) -> None:
    model, path = saved
    loaded = make()
    loaded.load_memories(path)
    for name, tensor in model.memory_tensors().items():
        assert torch.equal(loaded.memory_tensors()[name], tensor)
    assert loaded.get_memory_stats()["users_with_memory"] == 2


@needs_proc
def test_the_loaded_state_is_the_file_itself(saved: tuple[UR4RecV2MoE, Path]) -> None:
    _, path = saved
    loaded = make()
    loaded.load_memories(path)
    assert {find_mapping(tensor.data_ptr()) for tensor in loaded.memory_tensors().values()} == {str(path)}


def test_an_update_leaves_the_file_alone(saved: tuple[UR4RecV2MoE, Path]) -> None:
    _, path = saved
    before = path.read_bytes()
    loaded, other = make(), make()
    loaded.load_memories(path)
    loaded.update_memory(torch.tensor([2]), torch.randn(1, 4), force=True)
    assert loaded.get_memory_stats()["users_with_memory"] == 3
    assert path.read_bytes() == before
    other.load_memories(path)
    assert other.get_memory_stats()["users_with_memory"] == 2


def test_a_state_can_be_saved_over_the_file_that_it_is_mapped_from(saved: tuple[UR4RecV2MoE, Path]) -> None:
    _, path = saved
    reader, writer = make(), make()
    for model in (reader, writer):
        model.load_memories(path)
    writer.update_memory(torch.tensor([2]), torch.randn(1, 4), force=True)
    writer.save_memories(path)
    assert reader.get_memory_stats()["users_with_memory"] == 2
    reader.load_memories(path)
    assert reader.get_memory_stats()["users_with_memory"] == 3
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_equal_states_are_equal_files_whatever_their_names(saved: tuple[UR4RecV2MoE, Path]) -> None:
    model, path = saved
    model.save_memories(path.with_name("others.pt"))
    assert path.with_name("others.pt").read_bytes() == path.read_bytes()


def test_a_save_that_fails_leaves_the_old_file(
    saved: tuple[UR4RecV2MoE, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = saved
    before = path.read_bytes()

    def save_half(state: object, file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", save_half)
    with pytest.raises(OSError, match="disk full"):
        model.save_memories(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("absorbed"), r"absorbed: missing"),
        (lambda state: state.update(mood=state["absorbed"]), r"mood: this model has no such tensor"),
        (
            lambda state: state.update(history=state["history"][:2]),
            r"history: expected float32 \(4, 10, 4\), found float32 \(2,",
        ),
        (lambda state: state.update(absorbed=state["absorbed"].int()), r"absorbed: expected int64 \(4,\), found int32"),
    ],
    ids=["missing", "unknown", "shape", "dtype"],
)
def test_a_file_of_another_model_is_refused_whole(
    saved: tuple[UR4RecV2MoE, Path], change: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    _, path = saved
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)
    model = make()
    with pytest.raises(ValueError, match=rf"memories\.pt: .*{message}"):
        model.load_memories(path)
    assert not any(tensor.any() for tensor in model.memory_tensors().values())


def test_nobody_has_no_memory_whatever_a_file_says(saved: tuple[UR4RecV2MoE, Path]) -> None:
    _, path = saved
    torch.save({name: tensor + 1 for name, tensor in torch.load(path).items()}, path)
    model = make()
    model.load_memories(path)
    unknown, user = (present(model.retriever.memory).stored_state(torch.tensor([one])) for one in (99, 2))
    assert not any(tensor.any() for tensor in unknown.tensors())
    assert user.absorbed.tolist() == [1]


def test_no_memory_is_an_empty_file(tmp_path: Path) -> None:
    model = make(max_memory_size=0)
    model.save_memories(tmp_path / "memories.pt")
    model.load_memories(tmp_path / "memories.pt")
    assert torch.load(tmp_path / "memories.pt", weights_only=True) == {}


def test_a_model_without_memory_refuses_memories(saved: tuple[UR4RecV2MoE, Path]) -> None:
    _, path = saved
    with pytest.raises(ValueError, match="this model has no such tensor"):
        make(max_memory_size=0).load_memories(path)


@needs_proc
def test_a_million_users_take_no_memory_until_they_do_something() -> None:
    before = resident_bytes()
    memory = UserMemory(1_000_000, 64, MemoryConfig())
    size = sum(getattr(memory, name).nbytes for name in STATE_FIELDS)
    assert size == 1_000_001 * 2848  # as MemoryConfig says
    assert resident_bytes() - before < size // 20
    memory.store(torch.tensor([999_999]), memory.empty_state(1).map(lambda tensor: tensor + 1))
    assert memory.stored_state(torch.tensor([1, 999_999])).absorbed.tolist() == [0, 1]
    assert resident_bytes() - before < size // 20
