from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from emulators import put_object

from pipelines.arguments import build_arguments, read_settings, restore_config
from pipelines.compilation import PIPELINE_FILE
from pipelines.inputs import Inputs, Tracking, locate_data
from ur4rec.config import Config, load_config
from ur4rec.config_section import ConfigError
from ur4rec.data.config import DataConfig
from ur4rec.registry.run_settings import NAMED, SETTINGS, split_settings
from ur4rec.training.config import stages_of
from ur4rec.training.stage_names import STAGES

TRACKING = Tracking("sqlite:////tmp/mlflow.db")
ROWS = "user_id,item_id,timestamp\na,x,1\n"


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    (tmp_path / "plays.csv").write_text(ROWS)
    return Inputs(interactions=str(tmp_path / "plays.csv"))


def build(inputs: Inputs, config: Config | None = None, tracking: Tracking = TRACKING) -> dict[str, Any]:
    return build_arguments(config or load_config(), replace(inputs, tracking=tracking))


def find_changes(first: dict[str, Any], second: dict[str, Any]) -> set[str]:
    return {name for name in first if first[name] != second[name]}


def test_every_parameter_of_the_pipeline_is_given(inputs: Inputs) -> None:
    spec = next(yaml.safe_load_all(PIPELINE_FILE.read_text(encoding="utf-8")))
    assert set(build(inputs)) == set(spec["root"]["inputDefinitions"]["parameters"])


def test_an_encoder_of_one_s_own_is_keyed_by_its_files(inputs: Inputs, tmp_path: Path) -> None:
    weights = tmp_path / "encoder" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"one")
    config = load_config("toy", {"text_model_name": str(weights.parent)})
    before = build(inputs, config)
    assert build(inputs, config) == before
    weights.write_bytes(b"two")
    assert find_changes(before, build(inputs, config)) == {"text_code"}


@pytest.mark.parametrize("name", [None, "toy", "auto", "ur4rec_moe_100k"])
def test_the_parameters_hold_the_whole_configuration(inputs: Inputs, name: str | None) -> None:
    config = load_config(name, {"min_rating": 2.0, "seed": 3})
    arguments = build(inputs, config)
    restored = read_settings(arguments)
    assert (restored, restored.left_to_data) == (config, config.left_to_data)
    assert split_settings(restored) == split_settings(config)
    assert arguments["seed"] == "3"
    defaults = Config().to_dict()
    assert all(value != defaults[name] for name, value in arguments["settings"].items())


def test_the_groups_of_an_earlier_release_join_to_the_whole_configuration() -> None:
    config = load_config("toy", {"min_rating": 2.0})
    groups = {name: config.to_dict() for name in ("data_config", "sasrec_config")}
    assert read_settings({"interactions": "plays", **groups}) == config
    assert read_settings(split_settings(config)) == config


@pytest.mark.parametrize("rest", [{"seed": 9}, {"seed": 9.0, "batch_size": 7}])
def test_a_setting_is_given_once_or_twice_alike(rest: dict[str, Any]) -> None:
    assert read_settings({"seed": "9", "settings": rest}).seed == 9
    with pytest.raises(ConfigError, match=r"^parameters of the run: seed: is 8 and 9; keep one of them$"):
        read_settings({"seed": "8", "settings": rest})


def test_what_is_left_to_the_data_travels_as_auto(inputs: Inputs) -> None:
    arguments = build(inputs, load_config("auto", {"batch_size": "64"}))
    groups = split_settings(read_settings(arguments))
    stages = [groups[f"{name}_config"] for name in ("sasrec", "retriever", "joint", "final")]
    assert {settings["max_seq_len"] for settings in stages} == {"auto"} == {arguments["max_seq_len"]}
    assert {settings["batch_size"] for settings in stages} == {64}
    assert groups["writing_config"]["snapshot_base"] == groups["shards_config"]["snapshot_base"] == "auto"
    restored = restore_config(arguments, ["max_seq_len=30", "patience=auto"])
    assert restored.left_to_data == load_config("auto").left_to_data - {"max_seq_len", "batch_size"}
    assert (restored.max_seq_len, restored.batch_size) == (30, 64)


@pytest.mark.parametrize(
    ("key", "value", "changed"),
    [
        ("min_rating", 2.0, {"data_config"}),
        ("new_items", "include", {"data_config"}),
        ("snapshot_base", 5, {"text_config", "shards_config", "writing_config"}),
        ("text_model", "qwen-max", {"text_config"}),
        ("texts_per_shard", 9, {"text_config", "shards_config"}),
        ("max_sentences", 2, {"encode_config"}),
        ("sasrec_lr", 0.5, {"sasrec_config", "joint_config", "final_config"}),
        ("retriever_lr", 0.5, {"retriever_config", "joint_config", "final_config"}),
        ("text_control", "shuffled", {"retriever_config"}),
        ("finetune_lr_scale", 0.5, {"joint_config", "final_config"}),
        ("adaptive_min_steps", 5, {"joint_config"}),
        ("bootstrap_samples", 500, {"evaluation_config"}),
        ("seed", 3, {"sasrec_config", "retriever_config", "joint_config", "final_config"}),
        ("system", "UR4RecV2", {"retriever_config", "joint_config", "final_config"}),
        ("experiment_name", "other", {"registration_config", "registry_config"}),
        ("promote_automatically", True, {"registry_config"}),
    ],
)
def test_a_setting_reaches_its_group_only(inputs: Inputs, key: str, value: object, changed: set[str]) -> None:
    config = load_config(None, {key: value})
    assert find_changes(build(inputs), build(inputs, config)) == {key if key in NAMED else SETTINGS}
    assert find_changes(split_settings(Config()), split_settings(config)) == changed


@pytest.mark.parametrize("system", ["UR4RecV2MoE", "UR4RecV2", "UR4RecMoEMemory"])
def test_a_stage_that_a_system_lacks_is_told_the_system_alone(system: str) -> None:
    config = load_config("toy", {"system": system, "sasrec_lr": 0.5})
    groups = split_settings(config)
    for stage, name in zip(STAGES, ("sasrec", "retriever", "joint", "final"), strict=True):
        is_alone = groups[f"{name}_config"] == {"system": system}
        assert is_alone == (stage not in stages_of(config))


def test_a_system_without_sasrec_starts_from_no_model(inputs: Inputs) -> None:
    message = "warm_start: champion goes with a system that has SASRec, which UR4RecMoEMemory has not; leave"
    with pytest.raises(ConfigError, match=message):
        build(inputs, load_config(None, {"system": "UR4RecMoEMemory", "warm_start": "champion"}))


def test_the_contents_of_the_data_count_not_their_place(inputs: Inputs, tmp_path: Path) -> None:
    before = build(inputs)
    Path(inputs.interactions).write_text(ROWS + "a,y,2\n")
    assert find_changes(before, build(inputs)) == {"data_digest"}
    moved = tmp_path / "moved.csv"
    moved.write_text(ROWS)
    assert find_changes(before, build(Inputs(interactions=str(moved)))) == {"interactions"}


def test_texts_that_exist_are_digested(inputs: Inputs, tmp_path: Path) -> None:
    text = tmp_path / "items.json"
    text.write_text("{}")
    before = build(Inputs(inputs.interactions, item_text=str(text)))
    assert before["item_text"] == str(text)
    assert build(inputs)["text_digest"] == ""
    text.write_text('{"x": "A film."}')
    assert find_changes(before, build(Inputs(inputs.interactions, item_text=str(text)))) == {"text_digest"}


@pytest.mark.parametrize("value", [None, 1.5])
def test_none_is_left_to_the_default(value: float | None) -> None:
    settings = DataConfig(min_rating=value).list_changes()
    assert settings.get("min_rating") == value
    assert DataConfig.parse(settings) == DataConfig(min_rating=value)


def test_no_field_has_none_among_its_values_and_another_default() -> None:
    for name, field in Config.model_fields.items():
        assert "None" not in str(field.annotation) or field.default is None, name


def test_credentials_stay_in_the_environment(inputs: Inputs) -> None:
    secret, other = (Tracking(f"https://someone:hunter2@{host}/mlflow") for host in ("one", "two"))
    arguments = build(inputs, tracking=secret)
    assert "hunter2" not in str(arguments)
    assert arguments["tracking_uri"] == ""
    assert secret.environment["MLFLOW_TRACKING_URI"] == "https://someone:hunter2@one/mlflow"
    assert secret.public == "https://one/mlflow"
    assert find_changes(arguments, build(inputs, tracking=other)) == {"registry_code"}


def test_an_address_without_credentials_is_a_parameter(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DO_NOT_TRACK", "no")
    tracking = Tracking("http://localhost:5000")
    assert build(inputs, tracking=tracking)["tracking_uri"] == "http://localhost:5000"
    assert tracking.environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert tracking.environment["DO_NOT_TRACK"] == "no"


def test_digests_are_computed_without_importing_the_tasks(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pipelines.arguments import CODE\n"
        "from ur4rec.storage.code_digest import code_digest\n"
        "print(len({code_digest(*modules) for modules in CODE.values()}), 'torch' in sys.modules)\n"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.split() == ["6", "False"]


@pytest.mark.emulator
def test_another_generation_of_an_object_changes_the_data_and_nothing_else(bucket: str) -> None:
    inputs = Inputs(locate_data(f"gs://{bucket}/data"))
    put_object(bucket, "data/interactions.csv", ROWS)
    before = build(inputs)
    assert build(inputs) == before
    put_object(bucket, "data/interactions.csv", ROWS)  # the same bytes: another generation
    assert find_changes(before, build(inputs)) == {"data_digest"}
