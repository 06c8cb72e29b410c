"""On a full disk every command that writes ends with one line, and what was there before is as it was."""

import csv
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SETTINGS = ["--config", "toy", "--set", "epochs_per_stage=1", "--set", "bootstrap_samples=100"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def run_command(folder: Path, *arguments: object) -> None:
    command = [str(Path(sys.executable).with_name("ur4rec")), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


def write_plays(path: Path) -> Path:
    draw = random.Random(5)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("user_id", "item_id", "timestamp"))
        for user in range(60):
            for step, item in enumerate(draw.sample(range(60), draw.randint(12, 20))):
                writer.writerow((f"u{user:03}", f"i{item:03}", 1_600_000_000 + 1000 * user + 60 * step))
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands read, on a disk with room."""
    folder = tmp_path_factory.mktemp("inputs")
    write_plays(folder / "plays.csv")
    (folder / "variants.yaml").write_text("first: {description: SASRec, part: sasrec, stage: pretrain_sasrec}")
    (folder / "space.yaml").write_text("sasrec_dropout: {low: 0.1, high: 0.3}")
    run_command(folder, "data", "preprocess", "plays.csv", "-o", "sequences")
    run_command(folder, "text", "generate", "sequences", "-o", "texts")
    run_command(folder, "text", "encode", "sequences", "texts", "-o", "embeddings")
    run_command(folder, "train", "sequences", "embeddings", "-o", "trained", *SETTINGS)
    return folder


STAGES = "trained/stages/end_to_end"
MODEL = [f"{STAGES}/checkpoint", f"{STAGES}/memories"]
TRACKING = ["--tracking-uri", "sqlite:///{out}/mlflow.db"]
ONE_UNIT = ["--variants", "variants.yaml", "--reference", "first", "--seeds", "1,", "--jobs", "1"]
ONE_TRIAL = ["--space", "space.yaml", "--stage", "pretrain_sasrec", "--trials", "1"]
COMMANDS = {
    "data preprocess": ["data", "preprocess", "plays.csv", "-o", "{out}"],
    "text generate": ["text", "generate", "sequences", "-o", "{out}"],
    "text encode": ["text", "encode", "sequences", "texts", "-o", "{out}"],
    "text check": ["text", "check", "sequences", "--texts", "texts", "--report", "{out}/leaks.json"],
    "train": ["train", "sequences", "embeddings", "-o", "{out}", *SETTINGS],
    "train --stage": ["train", "sequences", "--stage", "pretrain_sasrec", "-o", "{out}", *SETTINGS],
    "evaluate": ["evaluate", "sequences", f"{STAGES}/checkpoint", "-o", "{out}", *SETTINGS],
    "register": [
        "register",
        "sequences",
        f"{STAGES}/checkpoint",
        f"{STAGES}/memories",
        "--outputs",
        "trained",
        *TRACKING,
    ],
    "recommend --all-users": [
        "recommend",
        "--all-users",
        "-m",
        "trained",
        "--sequences",
        "sequences",
        "-o",
        "{out}/all.parquet",
    ],
    "publish": ["publish", "embeddings", "{out}"],
    "ablate": ["ablate", "sequences", "embeddings", *ONE_UNIT, "-o", "{out}", *SETTINGS],
    "tune": ["tune", "sequences", "embeddings", *ONE_TRIAL, "-o", "{out}", *SETTINGS],
    "compile": ["compile", "-o", "{out}/pipeline.yaml"],
}
PIPELINES = {"compile"}
FINISHED = {"train": ("stages/", "resume/"), "train --stage": ("resume/",), "ablate": ("stages/", "units/")}
"""What a command that fails later leaves for the next one to go on from."""
FINISHED |= {"tune": ("stages/", "logs/", "study.db"), "register": ("mlflow.db", "mlartifacts/")}


@pytest.fixture(scope="module")
def outcomes(inputs: Path) -> dict[str, list[dict[str, Any]]]:
    """Command → what came of it each time, with room first."""
    if subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("this machine lets nobody mount a small disk in a namespace of its own")
    disk, request = inputs / "disk", inputs / "request.json"
    disk.mkdir()
    commands = {name: ["pipelines" if name in PIPELINES else "ur4rec", command] for name, command in COMMANDS.items()}
    request.write_text(json.dumps({"disk": str(disk), "commands": commands}))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = ["unshare", "-rm", sys.executable, str(HERE / "small_disk.py"), str(request)]
    result = subprocess.run(command, cwd=inputs, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in COMMANDS}
    for line in result.stdout.splitlines():
        row = json.loads(line)
        found[row["name"]].append(row)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_named_in_one_line_and_leaves_no_litter(
    name: str, outcomes: dict[str, list[dict[str, Any]]], inputs: Path
) -> None:
    first, *others = outcomes[name]
    assert first["code"] == 0, first["output"]
    failed = [row for row in others if row["code"]]
    assert {row["place"] for row in failed if not row["left"]} >= {"new/out"}
    for row in failed:
        *_, error = row["output"].rstrip().splitlines()
        assert row["code"] == 2, row
        assert error.startswith("Error: "), row
        assert str(inputs / "disk" / row["place"]) in error, row
        assert "No space left on device" in error or "disk is full" in error, row
        assert "Traceback" not in row["output"]
        kept = FINISHED.get(name, ())
        for path in row["differing"]:
            below = path.removeprefix(row["place"]).lstrip("/")
            made = row["place"].startswith("new") and kept and f"{path}/".startswith(("new/out/", "new/"))
            assert f"{below}/".startswith(kept) or made, (path, row)
            assert not path.endswith(".tmp")


def test_the_old_artifacts_are_replaced_only_where_there_is_room(outcomes: dict[str, list[dict[str, Any]]]) -> None:
    """The commands that write all at once say so whether little or much was left."""
    for name in ("data preprocess", "text generate", "text encode", "evaluate", "recommend --all-users", "compile"):
        assert [row["code"] for row in outcomes[name]] == [0, 2, 2, 2, 2], name
