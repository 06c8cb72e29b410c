from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.arguments import build_arguments
from pipelines.inputs import (
    DataNotFoundError,
    Inputs,
    Tracking,
    choose_config,
    locate_data,
    name_inputs,
    restore_inputs,
)
from pipelines.options import ClusterOptions, RunOptions
from ur4rec.commands.console import read_config
from ur4rec.config import load_config

ROWS = "user_id,item_id,timestamp\na,x,1\n"


def test_data_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plays.csv").write_text(ROWS)
    monkeypatch.chdir(tmp_path)
    assert locate_data("plays.csv") == str(tmp_path / "plays.csv")
    with pytest.raises(DataNotFoundError, match=r"--data plays\.tsv: expected ml-100k, .*, amazon-2023/CATEGORY, an"):
        locate_data("plays.tsv")


def test_inputs_are_found_again_in_the_parameters() -> None:
    files = ("gs://b/plays", "gs://b/songs", "gs://b/items", "gs://b/users")
    inputs = Inputs(*files, "cuda", "gs://b/state", Tracking("http://m"), {"min_users": 7})
    assert restore_inputs(build_arguments(load_config("toy"), inputs, scheduled=True)) == inputs
    assert restore_inputs({}) == Inputs("")


def test_only_what_is_given_is_named() -> None:
    assert name_inputs(ClusterOptions()) == {}
    given = name_inputs(ClusterOptions(data="gs://b/plays", items="", tracking_uri="http://m", config="toy"))
    assert given == {"interactions": "gs://b/plays", "items": "", "tracking": Tracking("http://m")}


@pytest.mark.parametrize(
    ("data", "config", "expected"),
    [
        (None, None, (50, 10)),
        ("ml-100k", None, (50, 10)),
        ("plays.csv", None, ("auto", "auto")),
        ("ml-1m", None, ("auto", "auto")),
        ("gs://bucket/plays", None, ("auto", "auto")),
        ("plays.csv", "ur4rec_moe_100k", (50, 10)),
        (None, "auto", ("auto", "auto")),
    ],
)
def test_data_that_are_not_the_shipped_runs_decide_for_themselves(
    data: str | None, config: str | None, expected: tuple[object, object]
) -> None:
    chosen = read_config(choose_config(RunOptions(config=config, data=data)), ()).to_dict()
    assert (chosen["max_seq_len"], chosen["snapshot_base"]) == expected
