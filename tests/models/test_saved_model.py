"""A folder of outputs gives the whole model back: shape, weights and memories."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ur4rec.models.saved_model import CheckpointError, read_model_config
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE

SHAPE: dict[str, Any] = {"sasrec_hidden_dim": 8, "retriever_output_dim": 8, "memory_dim": 4, "max_seq_len": 4}


@pytest.fixture
def model() -> UR4RecV2MoE:
    model = UR4RecV2MoE(num_items=5, num_users=3, **SHAPE)
    model.update_memory(torch.tensor([1, 3]), torch.randn(2, 8), force=True)
    return model.eval()


@pytest.fixture
def outputs(model: UR4RecV2MoE, tmp_path: Path) -> Path:
    content = {"num_items": 5, "num_users": 3, "config": model.config.to_dict()}
    (tmp_path / "model_config.json").write_text(json.dumps(content))
    torch.save(model.state_dict(), tmp_path / "final_model.pt")
    model.save_memories(tmp_path / "final_memories.pt")
    return tmp_path


def test_a_trained_model_comes_back_with_its_memories(model: UR4RecV2MoE, outputs: Path) -> None:
    loaded = UR4RecV2MoE.from_folder(str(outputs))
    given = {"user_ids": torch.tensor([1, 2]), "input_seq": torch.tensor([[1, 2, 3], [4, 5, 0]])}
    assert torch.equal(loaded(**given)[0], model(**given)[0])
    assert loaded.get_memory_stats() == model.get_memory_stats()
    assert loaded.get_memory_stats()["users_with_memory"] == 2
    assert not loaded.training


@pytest.mark.parametrize("name", ["model_config.json", "final_model.pt", "final_memories.pt"])
def test_what_a_folder_lacks_is_named(outputs: Path, name: str) -> None:
    (outputs / name).unlink()
    with pytest.raises(CheckpointError, match=rf"{name}: not found; expected the "):
        UR4RecV2MoE.from_folder(outputs)


def test_the_shape_is_read_as_it_was_written(model: UR4RecV2MoE, outputs: Path) -> None:
    content = read_model_config(outputs)
    assert (content["num_items"], content["num_users"]) == (5, 3)
    assert content["config"] == model.config.to_dict()
