import json
from pathlib import Path

import pytest
import torch

from ur4rec.models.config import ModelConfig
from ur4rec.models.tensor_files import TensorFileError
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.training.checkpoints import (
    CheckpointError,
    load_model,
    read_origin,
    read_raw_history,
    write_model_config,
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    sizes = ModelConfig(sasrec_hidden_dim=8, retriever_output_dim=8, memory_dim=4, max_seq_len=4)
    model = UR4RecV2MoE(num_items=5, num_users=3, config=sizes)
    write_model_config(tmp_path, model, "digest")
    torch.save(model.state_dict(), tmp_path / "final_model.pt")
    return tmp_path


def test_a_model_comes_back(checkpoint: Path) -> None:
    model = load_model(checkpoint)
    assert (model.num_items, model.num_users, model.config.sasrec_hidden_dim) == (5, 3, 8)


def test_weights_cut_short_are_named(checkpoint: Path) -> None:
    path = checkpoint / "final_model.pt"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(TensorFileError, match=r"final_model\.pt: damaged, cut short"):
        load_model(checkpoint)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "damaged or cut short, not JSON"),
        ('{"num_items": 5,', "damaged or cut short, not JSON"),
        ("[]", "expected keys and values, found list"),
        (json.dumps({"num_items": 5, "config": {}}), "num_users: missing"),
        (json.dumps({"num_items": 0, "num_users": 3, "config": {}}), "num_items: expected a number from 1 on, found 0"),
        (json.dumps({"num_items": 5, "num_users": "3", "config": {}}), "num_users: expected a number from 1 on"),
        (
            json.dumps({"num_items": 5, "num_users": 3, "config": "toy"}),
            "config: expected keys and values, found 'toy'",
        ),
    ],
)
def test_a_damaged_configuration_is_named(checkpoint: Path, content: str, message: str) -> None:
    (checkpoint / "model_config.json").write_text(content)
    with pytest.raises(CheckpointError, match=rf"model_config\.json: {message}.*; copy the file anew"):
        load_model(checkpoint)


def test_a_damaged_history_is_named(checkpoint: Path) -> None:
    assert read_origin(checkpoint) is None
    (checkpoint / "history.json").write_text("")
    with pytest.raises(CheckpointError, match=r"history\.json: damaged or cut short"):
        read_origin(checkpoint)


STAGE = {"stage": "end_to_end", "epochs": 1, "best_epoch": 1, "seconds": 1.0, "validation": {}, "series": []}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "stages: expected a list"),
        ({"stages": ["end_to_end"]}, "stages.0: expected the keys best_epoch, epochs"),
        ({"stages": [STAGE, {"stage": "x"}]}, "stages.1: expected the keys"),
        ({"stages": [], "warm_start": {"name": "x"}}, "warm_start: expected the keys digest, name"),
    ],
)
def test_a_history_without_what_is_read_is_named(checkpoint: Path, content: object, message: str) -> None:
    (checkpoint / "history.json").write_text(json.dumps({"stages": [STAGE]}))
    assert read_raw_history(checkpoint)["stages"] == [STAGE]
    (checkpoint / "history.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=rf"history\.json: {message}.*; copy the file anew"):
        read_raw_history(checkpoint)


def test_weights_of_another_model_name_the_tensor(checkpoint: Path) -> None:
    state = torch.load(checkpoint / "final_model.pt", weights_only=True)
    torch.save(state | {"sasrec.odd": torch.ones(1)}, checkpoint / "final_model.pt")
    with pytest.raises(TensorFileError, match=r"final_model\.pt: sasrec\.odd: this model has no such tensor"):
        load_model(checkpoint)
