from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipelines.arguments import DataNotFoundError, StagesError
from pipelines.containers import Runner
from pipelines.preparation import RunOptions, prepare
from ur4rec.registry.gate.rules import load_rules
from ur4rec.training.checkpoints import CheckpointError


def make_options(folder: Path, data: str | None, *settings: str) -> RunOptions:
    return RunOptions(
        config="toy",
        settings=settings,
        data=data,
        items=None,
        item_text=None,
        user_text=None,
        device="cpu",
        output_dir=folder / "out",
        pipeline_root=folder / "root",
        caching=True,
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "2024.csv").write_text("user_id,item_id,timestamp\na,x,1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "expected"), [((), "2024"), (("dataset_name=mine",), "mine"), (("seed=3",), "2024")]
)
def test_chosen_data_bring_their_name_along(folder: Path, settings: tuple[str, ...], expected: str) -> None:
    run, _ = prepare(make_options(folder, "2024.csv", *settings))
    assert run.arguments["data_config"]["dataset_name"] == expected


def test_mlflow_is_a_file_in_the_working_directory_by_default(folder: Path) -> None:
    run, tracking = prepare(make_options(folder, "2024.csv"))
    assert tracking.public == run.arguments["tracking_uri"] == f"sqlite:///{folder / 'mlflow.db'}"
    assert run.environment["MLFLOW_TRACKING_URI"] == tracking.uri


def test_paths_do_not_depend_on_the_working_directory(folder: Path) -> None:
    run, _ = prepare(make_options(folder, "2024.csv"))
    assert run.arguments["interactions"] == str(folder / "2024.csv")
    assert run.pipeline_root.is_absolute()


def test_relative_paths_of_settings_mean_the_same_in_a_container(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    (folder / "encoder").mkdir()
    (folder / "mine.yaml").write_text("{}")
    settings = ("text_cache=answers", "text_model_name=encoder", "text_item_prompt=mine.yaml")
    run, _ = prepare(replace(make_options(folder, "2024.csv", *settings), runner=Runner.DOCKER))
    assert run.containers is not None
    seen = {*run.containers.read_only, *run.containers.writable}
    assert {str(folder / name) for name in ("2024.csv", "answers", "encoder", "mine.yaml")} <= seen
    text = run.arguments["text_config"]
    assert (text["text_cache"], text["text_item_prompt"]) == (str(folder / "answers"), str(folder / "mine.yaml"))
    assert "/" not in text["text_user_prompt"]


def test_a_missing_gpu_is_found_before_the_data_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(CheckpointError, match="no GPU is available"):
        prepare(replace(make_options(folder, "nowhere.csv"), device="cuda"))


def test_a_system_that_the_pipeline_cannot_train_is_found_before_the_data_are(folder: Path) -> None:
    with pytest.raises(StagesError, match="UR4RecMoEMemory"):
        prepare(make_options(folder, "nowhere.csv", "system=UR4RecMoEMemory"))


def test_a_stale_pipeline_is_said_and_still_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.preparation.is_current", lambda path: False)
    prepare(make_options(folder, "2024.csv"))
    assert "is older than its sources" in capsys.readouterr().out


def test_the_rules_of_the_gate_are_arguments_and_can_be_changed(folder: Path) -> None:
    (folder / "rules.yaml").write_text("min_users: 7\n")
    shipped, _ = prepare(make_options(folder, "2024.csv"))
    own, _ = prepare(replace(make_options(folder, "2024.csv"), gate_rules=folder / "rules.yaml"))
    assert own.arguments["gate_rules"] == shipped.arguments["gate_rules"] | {"min_users": 7}
    assert load_rules(overrides=shipped.arguments["gate_rules"]) == load_rules()


@pytest.mark.parametrize("option", ["items", "item_text", "user_text"])
def test_files_of_items_and_texts_are_here_or_in_cloud_storage(
    folder: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ur4rec.data.input_files.list_versions", lambda location: ["songs#1"])
    (folder / "songs.json").write_text("{}")
    for location, expected in (("songs.json", str(folder / "songs.json")), ("gs://b/songs", "gs://b/songs")):
        run, _ = prepare(replace(make_options(folder, "2024.csv"), **{option: location}))
        assert run.arguments[option] == expected
    name = "--" + option.replace("_", "-")
    with pytest.raises(DataNotFoundError, match=rf"{name} nowhere\.json: no such file; expected a \w+ .*, or gs://…"):
        prepare(replace(make_options(folder, "2024.csv"), **{option: "nowhere.json"}))
