"""What docs/from_the_guide.md says works as it stands there: commands, keys, search space, Python."""

from __future__ import annotations

import importlib
import json
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from ur4rec.cli import app as ur4rec
from ur4rec.config import load_config
from ur4rec.config_section import parse_yaml
from ur4rec.experiments.search_space import list_grid, load_space

PAGE = (Path(__file__).parents[2] / "docs/from_the_guide.md").read_text(encoding="utf-8")
COMMANDS, KEYS, PYTHON = (section for section in PAGE.split("\n## ")[1:])
NUM_USERS, NUM_ITEMS, LENGTH = 20, 18, 10
TOY = {"sasrec_hidden_dim": 8, "retriever_output_dim": 8, "memory_dim": 4, "max_seq_len": 8, "epochs_per_stage": 1}
SMALL = "".join(f"{key}: {value}\n" for key, value in TOY.items()) + "bootstrap_samples: 100\npatience: 1\n"
ELEVEN = {
    *(
        f"{stage}_{kind}.pt"
        for stage in ("pretrain_sasrec", "pretrain_retriever", "joint_finetune", "end_to_end")
        for kind in ("best", "memories")
    ),
    "final_model.pt",
    "final_memories.pt",
    "results.json",
}
runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})


def read_rows(section: str) -> dict[str, str]:
    """What stands in the first column of a table → the first code of the second, or its text."""
    rows = re.findall(r"^\| `?(.+?)`? \| (.+) \|$", section, re.MULTILINE)
    return {first: second.strip("`") for first, second in rows if first not in ("in the guide", "---")}


def read_block(section: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of the guide."""
    folder = tmp_path_factory.mktemp("guide")
    data, texts = folder / "data/Multimodal_Datasets", folder / "data/llm_generated"
    for place in (data, texts):
        place.mkdir(parents=True)
    histories = {user: [(user + step) % NUM_ITEMS + 1 for step in range(LENGTH)] for user in range(NUM_USERS)}
    for part, rows in {"train": slice(-2), "val": slice(-2, -1), "test": slice(-1, None)}.items():
        taken = {user: items[rows] for user, items in histories.items()}
        np.save(data / f"{part}_sequences.npy", taken, allow_pickle=True)  # type: ignore[arg-type]
    items = {f"i{item}": item + 1 for item in range(NUM_ITEMS)}
    (data / "item_map.json").write_text(json.dumps(items))
    (texts / "item_descriptions.json").write_text(json.dumps({item: f"About {item}." for item in items}))
    (texts / "user_preferences.json").write_text(json.dumps({str(user): f"Likes {user}." for user in histories}))
    (folder / "small.yaml").write_text(SMALL)
    (folder / "grid.yaml").write_text(read_block(KEYS, "yaml"))
    return folder


def run(command: str, *more: str) -> None:
    """Run a command of the page in this process."""
    words = shlex.split(command)
    application: Typer = ur4rec
    if words[:2] == ["python", "-m"]:
        application, words = importlib.import_module(words[2]).app, words[2:]
    result = runner.invoke(application, [*words[1:], *more])
    assert result.exit_code == 0, result.output + str(result.exception)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_runs_and_then_the_lines_of_python(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With small settings beside the options of the page."""
    monkeypatch.chdir(folder)
    commands = list(read_rows(COMMANDS).values())
    assert [shlex.split(command)[2].rpartition(".")[2] for command in commands[:-1]] == [
        "llm_generator",
        "train_ur4rec_moe",
        "train_v2",
        "train_moe_memory",
    ]
    for command in commands[:-1]:
        run(command, *([] if "llm_generator" in command else ["--config", "small.yaml", "--epochs_per_stage", "1"]))
    run(commands[-1], "--trials", "1", "--config", "small.yaml")
    assert {path.name for path in Path("outputs/ur4rec_moe").iterdir()} >= ELEVEN
    assert len(list(Path("outputs/ur4rec_moe/logs").glob("*/events.out.tfevents.*"))) == 4
    assert {"user_preferences.json", "item_descriptions.json"} <= {p.name for p in Path("outputs/llm_text").iterdir()}
    Path("page.py").write_text(read_block(PYTHON, "python"))
    found = runpy.run_path("page.py")
    assert found["scores"].shape == (2, 2)
    assert found["retriever"].get_user_memory(1).memory_vector.any()
    assert found["other"].config.narrow(type(found["memory_config"])) == found["memory_config"]


@pytest.mark.parametrize("line", [key for key in read_rows(KEYS) if ":" in key])
def test_every_key_is_taken_as_written(tmp_path: Path, line: str) -> None:
    (tmp_path / "run.yaml").write_text(line)
    ((key, value),) = parse_yaml(line).items()
    others = re.findall(r'`"(.+?)"`', read_rows(KEYS)[line])
    for each, config in [
        (value, load_config(tmp_path / "run.yaml")),
        *((o, load_config(None, {key: o})) for o in others),
    ]:
        assert config.to_dict()[key] == (each.lower() if isinstance(each, str) else each)


def test_the_lists_of_the_guide_are_a_grid(folder: Path) -> None:
    assert len(list_grid(load_space(folder / "grid.yaml", load_config(), "end_to_end"))) == 4 * 3 * 3 * 3 * 3
