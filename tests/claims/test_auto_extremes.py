"""Extremes go through `auto` without a flag: short and endless histories, a tiny catalogue, a huge one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from ur4rec.auto.rules import choose
from ur4rec.auto.statistics import DataStatistics
from ur4rec.config import load_config
from ur4rec.local import fit
from ur4rec.models.config import ModelConfig
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.storage.artifacts import REASONS, read_artifact
from ur4rec.training.stages import stages_of

LENGTHS = (3, *range(7, 43, 3), 30_000)
FEW = 1
"""Epochs: what is shown does not depend on more."""


def make_plays(lengths: tuple[int, ...], num_items: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(len(lengths)), lengths)
    items = rng.integers(0, num_items, len(users))
    items[:num_items] = np.arange(num_items)
    return pd.DataFrame({"user_id": users, "item_id": items, "timestamp": np.arange(len(users))})


def test_three_interactions_thirty_thousand_and_fifty_items(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plays = make_plays(LENGTHS, 50)
    model = fit(plays, settings={"epochs_per_stage": FEW}, folder=tmp_path)
    told = capsys.readouterr().out
    assert told.count("settings from the data") == 1
    table = model.recommend([str(user) for user in (0, len(LENGTHS) - 1)], k=5)
    assert table["user_id"].tolist() == ["0"] * 5  # the other has had all fifty
    assert model.results.config["max_seq_len"] == 50
    assert model.results.config["windows_per_user"] == "all"
    assert read_artifact(tmp_path / "texts").config["snapshot_base"] == 4
    for stage in stages_of(load_config("auto")):
        manifest = read_artifact(tmp_path / "stages" / stage / "checkpoint")
        assert manifest.config["max_seq_len"] == 50
        assert "epochs_per_stage" not in manifest.details[REASONS]
        assert manifest.details[REASONS]["max_seq_len"].startswith("90 % of the histories are at most")


def test_a_million_items_leave_room_in_eight_gigabytes() -> None:
    """What a training holds of such a model at most, counted without making it; the texts and neighbours come later."""
    data = DataStatistics(200_000, 1_000_000, 5_000_000, short=5, median=15, long=60)
    chosen = {name: choice.value for name, choice in choose(data).items()}
    config = load_config("auto").settle(chosen, dict.fromkeys(chosen, "a rule"))
    with torch.device("meta"):
        model = UR4RecV2MoE(data.num_items, data.num_users, config.narrow(ModelConfig))
    weights, buffers = (sum(each.nbytes for each in parts()) for parts in (model.parameters, model.buffers))
    copies = 6  # weights, gradients, two moments, averages, the best
    later = 4 * data.num_items * config.text_components + 5 * 8 * data.num_items * config.cooccurrence_neighbors
    assert copies * weights + buffers + later < 6 * 2**30
    assert config.num_negatives  # no softmax over all of them
