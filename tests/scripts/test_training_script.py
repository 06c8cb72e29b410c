"""The training scripts, end to end on small data."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from ur4rec.commands.console import OptionError
from ur4rec.config import load_config
from ur4rec.config_section import ConfigSection
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import load_sequences
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.scripts import train_moe_memory, train_ur4rec_moe, train_v2
from ur4rec.scripts.training_script import find_artifact, fix_system
from ur4rec.storage.artifacts import read_artifact, write_artifact
from ur4rec.storage.locks import LOCK, lock_folder
from ur4rec.text.config import TextConfig
from ur4rec.text.embeddings import write_embeddings
from ur4rec.text.generate import generate_text

NUM_USERS, NUM_ITEMS, LENGTH = 20, 18, 10
FOUR = ("pretrain_sasrec", "pretrain_retriever", "joint_finetune", "end_to_end")
TWO = ("pretrain_retriever", "end_to_end")
SCRIPTS = {"UR4RecV2MoE": train_ur4rec_moe, "UR4RecV2": train_v2, "UR4RecMoEMemory": train_moe_memory}
TOY = "sasrec_hidden_dim: 8\nretriever_output_dim: 8\nmemory_dim: 4\nmax_seq_len: 8\nbootstrap_samples: 100\n"
runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sequences, embeddings of random vectors and a configuration."""
    folder = tmp_path_factory.mktemp("scripts")
    rows = [(f"u{user}", f"i{(user + step) % NUM_ITEMS}", step) for user in range(NUM_USERS) for step in range(LENGTH)]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(folder / "plays.csv", index=False)
    preprocess_sequences(folder / "plays.csv", folder / "data/sequences", DataConfig(dataset_name="plays"))
    vectors = np.random.default_rng(0).normal(size=(NUM_ITEMS + 1, 5)).astype(np.float32)
    with write_artifact(folder / "llm/embeddings", "encode_text", ConfigSection()) as writer:
        one = np.array([NUM_ITEMS]), np.array([0, 1]), np.array([[1, 5]])
        write_embeddings(writer.folder, vectors, np.arange(NUM_ITEMS), *one)
    generate_text(folder / "data/sequences", folder / "llm_text", TextConfig())
    (folder / "toy.yaml").write_text(TOY)
    return folder


def list_options(folder: Path, output: Path, *more: Path | str) -> list[str]:
    options = ["--config", folder / "toy.yaml", "--data_dir", folder / "data", "--output_dir", output]
    return [str(option) for option in [*options, "--epochs_per_stage", 1, "--patience", 1, "--device", "cpu", *more]]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the guide: pickled sequences, `item_map.json`, and two JSON files of texts beside it."""
    folder = tmp_path_factory.mktemp("old")
    (folder / "plays").mkdir()
    (folder / "llm").mkdir()
    histories = {f"u{user}": [(user + step) % NUM_ITEMS + 1 for step in range(LENGTH)] for user in range(NUM_USERS)}
    targets = {"train": slice(-2), "val": slice(-2, -1), "test": slice(-1, None)}
    for part, rows in targets.items():
        taken = {user: items[rows] for user, items in histories.items()}
        np.save(folder / f"plays/{part}_sequences.npy", taken, allow_pickle=True)  # type: ignore[arg-type]
    items = {f"i{item}": item + 1 for item in range(NUM_ITEMS)}
    (folder / "plays/item_map.json").write_text(json.dumps(items))
    (folder / "llm/item_descriptions.json").write_text(json.dumps({item: f"About {item}." for item in items}))
    (folder / "llm/user_preferences.json").write_text(json.dumps({user: f"Likes {user}." for user in histories}))
    (folder / "toy.yaml").write_text(TOY)
    return folder


def list_files(stages: tuple[str, ...]) -> set[str]:
    files = {f"{stage}_{kind}.pt" for stage in stages for kind in ("best", "memories")}
    return files | {"final_model.pt", "final_memories.pt", "results.json"}


@pytest.mark.parametrize(("system", "stages"), [("UR4RecV2MoE", FOUR), ("UR4RecV2", FOUR), ("UR4RecMoEMemory", TWO)])
def test_a_script_trains_its_system_and_leaves_the_files_of_its_stages(
    folder: Path, tmp_path: Path, system: str, stages: tuple[str, ...]
) -> None:
    texts = "llm_text" if system == "UR4RecV2" else "llm"  # the former are not encoded yet
    options = list_options(folder, tmp_path, "--llm_data_dir", folder / texts)
    result = runner.invoke(SCRIPTS[system].app, options)
    assert result.exit_code == 0, result.output + str(result.exception)
    weights = {path.name for path in tmp_path.glob("*.pt")}
    assert weights | {"results.json"} == list_files(stages)
    assert {path.name for path in (tmp_path / "logs").iterdir()} == set(stages)
    results = json.loads((tmp_path / "results.json").read_text())
    assert next(iter(results["test"])) == system
    assert ("sasrec" in results["test"]) == ("pretrain_sasrec" in stages)
    assert results["config"]["system"] == system
    assert (results["config"]["epochs_per_stage"], results["config"]["patience"]) == (1, 1)
    assert f"{results['test'][system]['ndcg@10']['value']:.4f}" in result.stdout
    last = tmp_path / "stages/end_to_end"
    assert result.stdout.splitlines()[-1] == (
        f"register: ur4rec register {folder}/data/sequences {last}/checkpoint {last}/memories --outputs {tmp_path}"
    )


@pytest.mark.slow
def test_as_a_process_and_without_texts_they_are_made_from_the_items(folder: Path, tmp_path: Path) -> None:
    """With the packaged sentence encoder."""
    command = [sys.executable, "-m", "ur4rec.scripts.train_moe_memory", *list_options(folder, tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "18 item descriptions: 18 template" in done.stdout
    assert list_files(TWO) <= {path.name for path in tmp_path.iterdir()}
    assert read_artifact(tmp_path / "texts").config["text_provider"] == "template"
    assert read_artifact(tmp_path / "text_embeddings").details["items"] == NUM_ITEMS


@pytest.mark.parametrize("system", ["UR4RecV2MoE", "UR4RecV2"])
def test_the_systems_that_read_user_texts_need_them(folder: Path, tmp_path: Path, system: str) -> None:
    result = runner.invoke(SCRIPTS[system].app, list_options(folder, tmp_path / "out"))
    assert result.exit_code == 2
    assert "--llm_data_dir: missing" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("system", list(SCRIPTS))
def test_a_configuration_of_another_system_is_refused(folder: Path, tmp_path: Path, system: str) -> None:
    other = "UR4RecV2MoE" if system == "UR4RecV2" else "UR4RecV2"
    (tmp_path / "other.yaml").write_text(f"{TOY}system: {other}\n")
    options = list_options(folder, tmp_path / "out", "--llm_data_dir", folder / "llm")
    result = runner.invoke(SCRIPTS[system].app, [*options, "--config", str(tmp_path / "other.yaml")])
    assert result.exit_code == 2
    assert f"system: {other}: this script trains {system}" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_configuration_may_name_the_system_of_the_script(tmp_path: Path) -> None:
    (tmp_path / "named.yaml").write_text("system: UR4RecV2\n")
    assert fix_system(load_config(tmp_path / "named.yaml"), "UR4RecV2").system == "UR4RecV2"
    assert fix_system(load_config("toy"), "UR4RecV2").system == "UR4RecV2"


def test_an_artifact_is_the_folder_itself_or_below_or_around_it(folder: Path) -> None:
    sequences = folder / "data/sequences"
    (sequences / "inner").mkdir(exist_ok=True)
    places = (sequences, folder / "data", sequences / "inner")
    assert {find_artifact(place, "preprocess_sequences") for place in places} == {sequences}
    assert find_artifact(folder / "llm", "preprocess_sequences") is None


def test_what_is_found_elsewhere_than_named_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sequences = folder / "data/sequences"
    find_artifact(sequences, "preprocess_sequences")
    assert capsys.readouterr().out == ""
    find_artifact(folder / "data", "preprocess_sequences")
    assert capsys.readouterr().out == f"preprocess_sequences: {sequences}\n"


@pytest.mark.parametrize(
    ("option", "source", "producer"),
    [
        ("--data_dir", "data/sequences", "preprocess_sequences"),
        ("--llm_data_dir", "llm/embeddings", "encode_text"),
        ("--llm_data_dir", "llm_text", "generate_text"),
    ],
)
def test_several_folders_of_a_kind_are_refused_by_name(
    folder: Path, tmp_path: Path, option: str, source: str, producer: str
) -> None:
    for name in ("newer", "older"):
        shutil.copytree(folder / source, tmp_path / "several" / name)
    options = list_options(folder, tmp_path / "out", "--llm_data_dir", folder / "llm", option, tmp_path / "several")
    result = runner.invoke(train_v2.app, options)
    assert result.exit_code == 2, result.output
    assert f"{tmp_path}/several: holds several folders of {producer}: newer, older; name the one" in result.stderr
    assert not list(tmp_path.glob("out/*.pt"))
    with pytest.raises(OptionError):
        find_artifact(tmp_path / "several", producer)


def test_a_second_script_in_the_same_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    options = list_options(folder, tmp_path, "--llm_data_dir", folder / "llm_text")
    with lock_folder(tmp_path):
        result = runner.invoke(train_v2.app, options)
    assert result.exit_code == 2
    assert f"{tmp_path}: another run is using it" in result.stderr
    assert "choose another --output_dir" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_the_old_folders_are_imported_and_trained_on(old: Path, tmp_path: Path) -> None:
    options = list_options(old, tmp_path, "--data_dir", old / "plays", "--llm_data_dir", old / "llm")
    result = runner.invoke(train_ur4rec_moe.app, options)
    assert result.exit_code == 0, result.output + str(result.exception)
    assert list_files(FOUR) <= {path.name for path in tmp_path.iterdir()}
    lines = result.stdout.splitlines()
    told = "old pickled sequences, read without running what they bring along: 20 users, 18 items, 200 interactions"
    assert f"{old}/plays: {told}; see {tmp_path}/sequences" in lines
    assert f"{old}/llm: item_descriptions.json and user_preferences.json, read as texts that exist already" in lines
    assert "generate_text: 18 item descriptions: 18 imported" in lines
    assert sum(line.startswith("generate_text: leak check: ") for line in lines) == 1
    sequences = load_sequences(tmp_path / "sequences")
    assert (sequences.name, set(sequences.item_ids[1:])) == ("plays", {f"i{item}" for item in range(NUM_ITEMS)})
    assert not list(old.rglob("manifest.json"))
    stats = UR4RecV2MoE.from_folder(tmp_path).get_memory_stats()
    assert stats == json.loads((tmp_path / "results.json").read_text())["memory"]


def test_old_files_that_ask_for_code_are_refused_by_name(old: Path, tmp_path: Path) -> None:
    shutil.copytree(old / "plays", tmp_path / "plays")
    np.save(tmp_path / "plays/val_sequences.npy", {"u1": Path("x")}, allow_pickle=True)  # type: ignore[arg-type]
    options = list_options(old, tmp_path / "out", "--data_dir", tmp_path / "plays", "--llm_data_dir", old / "llm")
    result = runner.invoke(train_ur4rec_moe.app, options)
    assert result.exit_code == 2
    assert f"{tmp_path}/plays/val_sequences.npy" in result.stderr
    assert "pathlib" in result.stderr


def test_texts_of_the_old_files_that_know_the_future_are_refused(old: Path, tmp_path: Path) -> None:
    held_out = {user: [(user + LENGTH - step) % NUM_ITEMS for step in (2, 1)] for user in range(NUM_USERS)}
    leaky = {f"u{user}": f"Will like Item i{val} and Item i{test}." for user, (val, test) in held_out.items()}
    (tmp_path / "llm").mkdir()
    (tmp_path / "llm/user_preferences.json").write_text(json.dumps(leaky))
    out = tmp_path / "out"
    options = list_options(old, out, "--data_dir", old / "plays", "--llm_data_dir", tmp_path / "llm")
    result = runner.invoke(train_ur4rec_moe.app, options)
    assert result.exit_code == 2, result.output
    assert f"{out}/texts: the texts know what they should not" in result.stderr
    assert not list(out.glob("*.pt"))
