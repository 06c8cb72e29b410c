"""`python -m pipelines`: its help, the run on this machine, and every command of the guide as it is written."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kfp_server import KfpServer
from typer.main import get_command
from typer.testing import CliRunner

from pipelines.__main__ import app
from pipelines.cluster import status as run_status
from ur4rec.evaluation.results import load_results
from ur4rec.storage.locks import lock_folder
from ur4rec.training.stage_names import STAGES

REPOSITORY = Path(__file__).parents[2]
GUIDE = REPOSITORY / "docs" / "cluster_runs.md"
PROGRAM = ["python", "-m", "pipelines"]
NUM_USERS, NUM_ITEMS = 60, 40
ELEVEN_FILES = {
    *(f"{stage}_{kind}.pt" for stage in STAGES for kind in ("best", "memories")),
    "final_model.pt",
    "final_memories.pt",
    "results.json",
}
JUDGED = {"Judge model", "Promote model"}
ALWAYS = {"Preflight", "Resolve inputs", "Resolve warm start", "Report the run", *JUDGED}
TITLES = {
    *ALWAYS,
    "Preprocess sequences",
    "Generate text",
    "Plan text shards",
    "Ask for texts",
    "Encode text",
    "Stage 1: pretrain SASRec",
    "Stage 2: pretrain retriever",
    "Stage 3: joint fine-tuning",
    "Stage 4: end to end",
    "Evaluate",
    "Register model",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with interactions and items: each user walks on through the items."""
    folder = tmp_path_factory.mktemp("work")
    random = np.random.default_rng(0)
    rows = [
        (f"user {user}", f"i{(user + step * random.integers(1, 3)) % NUM_ITEMS}", 1_000_000 + 100 * user + step)
        for user in range(NUM_USERS)
        for step in range(14)
    ]
    plays = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    plays.drop_duplicates(["user_id", "item_id"]).to_csv(folder / "plays.csv", index=False)
    songs = pd.DataFrame({"item_id": [f"i{item}" for item in range(NUM_ITEMS)], "genres": "Jazz|Rock"})
    songs.assign(title=[f"Song {item}" for item in range(NUM_ITEMS)]).to_csv(folder / "songs.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, which nobody edits but the test."""
    target = tmp_path_factory.mktemp("code")
    for name in ("ur4rec", "components", "pipelines"):
        shutil.copytree(REPOSITORY / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pipeline.yaml", target)
    return target


def run_pipeline(folder: Path, code: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines", "run", "--config", "toy", "--data", "plays.csv"]
    options = ["--items", "songs.csv", "--set", "bootstrap_samples=100", "--set", "epochs_per_stage=1"]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment["PYTHONPATH"] = str(code)
    return subprocess.run(
        [*command, *options], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def list_files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def list_titles(output: str, status: str) -> set[str]:
    return set(re.findall(rf"^(.*): {status}\b.*$", output, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_whole_pipeline_then_the_cache_then_a_change_and_a_failure(folder: Path, code: Path) -> None:
    outputs = folder / "outputs" / "ur4rec_moe"

    first = run_pipeline(folder, code)
    assert first.returncode == 0, first.stdout + first.stderr
    assert list_titles(first.stdout, "done") == TITLES
    assert {*ELEVEN_FILES, "model_config.json", "history.json", "report.html"} <= {
        path.name for path in outputs.iterdir()
    }
    assert {path.name for path in (outputs / "logs").iterdir()} == {*STAGES, "pipeline.log"}
    results = load_results(outputs / "results.json")
    assert results.dataset.name == "plays"
    for system, metrics in results.test.items():
        assert re.search(rf"{system} +{metrics['ndcg@10'].value:.4f} \[", first.stdout)
    for line in (
        r"tasks: 17 run, 0 cached; \d+ s of wall time, largest process [\d,]+ MB",
        r"report: +outputs/ur4rec_moe/report.html",
        r"model: +ur4rec version 1, alias challenger",
        rf"experiments: +\S*mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db",
        r"try it: +\S*ur4rec recommend --user 'user 0' --model models:/ur4rec@challenger",
    ):
        assert re.search(line, first.stdout), line

    second = run_pipeline(folder, code)
    assert second.returncode == 0, second.stdout + second.stderr
    assert list_titles(second.stdout, "cached") == TITLES - ALWAYS
    assert "tasks: 6 run, 11 cached" in second.stdout
    assert "    run succeeded: " in (outputs / "logs" / "pipeline.log").read_text()
    assert "--model models:/ur4rec/1\n" in second.stdout
    assert load_results(outputs / "results.json") == results

    # The same elsewhere, then with files that are gone.
    copy, before = folder.with_name("copy"), list_files(folder)
    shutil.copytree(folder, copy)
    elsewhere = run_pipeline(copy, code)
    assert elsewhere.returncode == 0, elsewhere.stdout + elsewhere.stderr
    assert list_titles(elsewhere.stdout, "cached") == TITLES - ALWAYS
    registration = json.loads((copy / "outputs" / "ur4rec_moe" / "registration.json").read_bytes())
    assert registration["tracking_uri"] == f"sqlite:///{copy}/mlflow.db"
    (checkpoint,) = copy.glob("outputs/pipeline_root/*/end-to-end/checkpoint")
    for file in list(checkpoint.iterdir()):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    remade = run_pipeline(copy, code)
    assert remade.returncode == 0, remade.stdout + remade.stderr
    assert f"\ncache: end-to-end runs again, {checkpoint}/manifest.json: " in remade.stdout
    again = {"Stage 4: end to end", "Evaluate", "Register model"}
    assert list_titles(remade.stdout, "cached") == TITLES - ALWAYS - again
    assert list_files(folder) == before

    # An evaluation that fails.
    evaluate = code / "ur4rec" / "evaluation" / "evaluate.py"
    evaluate.write_text(
        evaluate.read_text().replace("    outcome, ", '    raise ValueError("out of users")\n    outcome, ', 1)
    )
    changed = run_pipeline(folder, code)
    assert changed.returncode == 1, changed.stdout + changed.stderr
    stages = {title for title in TITLES if title.startswith("Stage")}
    assert list_titles(changed.stdout, "cached") == stages | {
        *("Preprocess sequences", "Plan text shards", "Ask for texts", "Generate text", "Encode text"),
    }
    assert list_titles(changed.stdout, "done") == ALWAYS - JUDGED
    assert "    run failed: " in (outputs / "logs" / "pipeline.log").read_text()
    assert re.search(
        r"^Evaluate: failed in \d+ s\n(?:Report the run: .+\n)+ValueError: out of users\n", changed.stdout, re.MULTILINE
    )
    assert "whole log: outputs/ur4rec_moe/logs/pipeline.log" in changed.stdout
    assert "outputs/ur4rec_moe still holds the results of an earlier run (plays)" in changed.stdout
    assert load_results(outputs / "results.json") == results


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config", "toys"], "toys: "),
        (["--set", "epochs=3"], "unknown key 'epochs'"),
        (
            ["--data", "nowhere.csv"],
            "--data nowhere.csv: expected ml-100k, ml-1m, ml-10m, ml-25m, ml-32m, ml-latest-small, "
            "amazon-2023/CATEGORY, an existing file or folder, or gs://",
        ),
    ],
)
def test_a_wrong_option_is_one_line_and_runs_nothing(
    options: Sequence[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["run", *options])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "outputs" / "pipeline_root").exists()


def test_an_unknown_device_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["run", "--device", "gpu"])
    assert result.exit_code == 2
    assert "'gpu' is not one of 'auto', 'cpu', 'cuda'" in " ".join(result.stderr.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def test_the_help_names_every_shipped_configuration() -> None:
    command = get_command(app).commands["run"]  # type: ignore[attr-defined]
    text = next(parameter.help for parameter in command.params if parameter.name == "config")
    shipped = {file.stem for file in (REPOSITORY / "ur4rec" / "configs").glob("*.yaml")}
    assert shipped == set(re.findall(r"\w+", text.rpartition(":")[2]))


def test_two_runs_do_not_share_a_pipeline_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plays.csv").write_text("user_id,item_id,timestamp\na,x,1\na,y,2\na,z,3\n")
    with lock_folder(tmp_path / "root"):
        result = CliRunner().invoke(app, ["run", "--data", "plays.csv", "--pipeline-root", "root"])
    assert result.exit_code == 2
    assert "another run is using it" in result.stderr


def test_commands_are_listed_without_kfp() -> None:
    """Its import takes seconds."""
    script = (
        "import sys\n"
        "from typer.main import get_command\n"
        "from pipelines.__main__ import app\n"
        "print(*sorted(get_command(app).commands))\n"
        "print(*sorted({'kfp', 'kfp_server_api', 'kubernetes', 'torch', 'mlflow'} & set(sys.modules)))\n"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.splitlines() == [
        "cancel clone compile logs retry run runs schedule status submit watch",
        "",
    ]


def list_commands() -> list[list[str]]:
    blocks = re.findall(r"```bash\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [line[len(PROGRAM) :] for line in lines if line[: len(PROGRAM)] == PROGRAM]


@pytest.mark.server
def test_in_the_order_of_the_guide(kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ur4rec.storage.inputs.list_versions", lambda location: ["interactions.csv#1"])
    monkeypatch.setattr("pipelines.cluster.schedule_update.SETTLE", timedelta(0))
    monkeypatch.setattr(run_status, "pause", lambda seconds: None)
    commands = list_commands()
    assert {command[1] for command in commands if command[0] == "schedule"} == {
        "create",
        "list",
        "show",
        "pause",
        "resume",
        "trigger",
        "update",
        "delete",
    }
    for command in commands:
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, (command, result.output)
    assert [schedule["display_name"] for schedule in kfp_server.schedules.values()] == ["often", "may"]
