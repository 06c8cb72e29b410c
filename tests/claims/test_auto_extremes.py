"""Extremes go through `auto` without a flag: short and endless histories, a tiny catalogue, a huge one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ur4rec.config import load_config
from ur4rec.local import fit
from ur4rec.storage.artifacts import REASONS, read_artifact
from ur4rec.training.stages import stages_of

LENGTHS = (3, *range(4, 44), 30_000)
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
        assert manifest.details[REASONS]["max_seq_len"].startswith("90 % of the histories have at most")
