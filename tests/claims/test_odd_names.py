"""Every command shows ids, titles and names as they are written, brackets, markup, emoji codes and all."""

from __future__ import annotations

import csv
import random
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ur4rec.cli import app
from ur4rec.registry.mlflow_client import prepare_mlflow

prepare_mlflow()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of MLflow about its own type hints
    import mlflow.pyfunc  # noqa: F401

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow"),
]
DATA, MODEL, ALIAS = "[/x] plays [bold]", "odd model", "odd-alias"
USERS = [f"{name}{number}" for number in range(4) for name in ("[/u]", r"a\[b", ":smile:", "[bold]x[/bold]", "[red")]
ITEMS = [f"[/i{number}], 1995" for number in range(10)] + [f":heart:{number}" for number in range(8)]
TITLE, SHOWN_TITLE = "[link=x]T[/link] :fire: \x1b[31m", "[link=x]T[/link] :fire: ␛[31m"
FOLDER = "out [/y]"
runner = CliRunner(env={"COLUMNS": "250", "TERM": "dumb", "NO_COLOR": "1"})


def run(*arguments: object, code: int = 0) -> str:
    result = runner.invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def write_data(folder: Path) -> None:
    source = random.Random(1)
    rows = [
        (user, item, 1_000_000_000 + 1000 * place + step)
        for place, user in enumerate(USERS)
        for step, item in enumerate(source.sample(ITEMS, 12))
    ]
    for name, columns, content in (
        ("plays", ("user_id", "item_id", "timestamp"), rows),
        ("songs", ("item_id", "title", "genres"), [(item, f"{TITLE}{item}", "[b]Drama[/b]") for item in ITEMS]),
    ):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([columns, *content])


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What every command prints that comes before a question to the registry; the folder is the working one."""
    folder = tmp_path_factory.mktemp("odd")
    write_data(folder)
    (folder / "names.yaml").write_text(
        f"dataset_name: '{DATA}'\nregistered_model_name: '{MODEL}'\nchallenger_alias: '{ALIAS}'\n"
    )
    (folder / "variants.yaml").write_text("full: {description: '[/d]'}\n")
    (folder / "space.yaml").write_text("sasrec_lr: {low: 0.001, high: 0.01, log: true}\n")
    toy = ("--config", "toy", *(f"--set={each}" for each in ("epochs_per_stage=1", "bootstrap_samples=100")))
    last = Path(FOLDER, "stages/end_to_end")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        names = ("--config", "names.yaml")
        return {
            "folder": str(folder),
            "preprocess": run("data", "preprocess", "plays.csv", "--items", "songs.csv", "-o", "[/s]", *names),
            "generate": run("text", "generate", "[/s]", "-o", "[/t]"),
            "encode": run("text", "encode", "[/s]", "[/t]", "-o", "[/e]", "--device", "cpu"),
            "train": run("train", "[/s]", "[/e]", "-o", FOLDER, *toy, "--device", "cpu"),
            "register": run("register", "[/s]", last / "checkpoint", last / "memories", "--outputs", FOLDER, *names),
            "gate": run("registry", "gate", "[/s]", "--set=min_users=1", *names, code=1),
        }


REGISTERED = ("--model", f"models:/{MODEL}@{ALIAS}")
ASKED = {
    "show": (("data", "show", "[/s]"), (DATA, SHOWN_TITLE, ":heart:0", "[b]Drama[/b]")),
    "check": (("text", "check", "[/s]", "--texts", "[/t]"), ("[/t]",)),
    "evaluate": (
        ("evaluate", "[/s]", f"{FOLDER}/stages/end_to_end/checkpoint", "-o", "[/again]", "--set=bootstrap_samples=100"),
        (f"test on {DATA} (", "report: [/again]/report.html"),
    ),
    "recommend user": (("recommend", "--user", "[/u]0", *REGISTERED), ("user [/u]0 (source: user)", SHOWN_TITLE)),
    "recommend nobody": (("recommend", "--user", "[/nobody]", *REGISTERED), ("user [/nobody] (source: fallback)",)),
    "recommend history": (("recommend", "--history", ":heart:1", *REGISTERED), ("history (source", SHOWN_TITLE)),
    "recommend repeated": (
        ("recommend", "--history", "[/i1], 1995", "--history", "[/i2], 1995", "-k", "18", *REGISTERED),
        ("history (source: history)", "[/i3], 1995"),
    ),
    "recommend all": (
        ("recommend", "--all-users", "-o", "[/all].parquet", *REGISTERED),
        ("[/all].parquet: 120 rows for 20 users",),
    ),
    "memory stats": (("memory", "stats", *REGISTERED), ("memory after",)),
    "memory show": (("memory", "show", r"a\[b0", *REGISTERED), (r"user a\[b0, after",)),
    "memory diff": (("memory", "diff", REGISTERED[1], REGISTERED[1]), (f"A: {REGISTERED[1]}, after",)),
    "publish": (("publish", "[/s]", "published [/x]"), ("published: published [/x] (",)),
    "registry list": (("registry", "list", "--config", "names.yaml"), (f"versions of {MODEL}", ALIAS, "[bold]")),
    "registry show": (("registry", "show", ALIAS, "--config", "names.yaml"), (f"{MODEL}, {ALIAS}", DATA)),
    "registry compare": (("registry", "compare", "1", ALIAS, "--config", "names.yaml"), ("test metrics",)),
    "registry anchor": (
        ("registry", "anchor", "1", "--config", "names.yaml"),
        (f"{MODEL}: version 1 is now the anchor",),
    ),
    "registry promote": (
        ("registry", "promote", "--force", "--reason", "[/agreed] :ok:", "--config", "names.yaml"),
        (f"{MODEL}: version 1 is now the champion",),
    ),
    "registry history": (
        ("registry", "history", "--config", "names.yaml"),
        (f"champions of {MODEL}", "[/agreed] :ok:"),
    ),
    "tune": (
        ("tune", "[/s]", "[/e]", "-o", "[/tuned]", "--space", "space.yaml", "--trials", "1", "--stage",
         "pretrain_sasrec", "--config", "toy", "--set=epochs_per_stage=1", "--device", "cpu"),
        ("best: [/tuned]/best.yaml",),
    ),
    "ablate": (
        ("ablate", "[/s]", "[/e]", "-o", "[/ablated]", "--variants", "variants.yaml", "--seeds", "1", "--config", "toy",
         "--jobs", "1", "--set=epochs_per_stage=1", "--device", "cpu"),
        ("tables: [/ablated]/ablation.md",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
def test_what_a_command_prints(shown: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shown["folder"])
    arguments, expected = ASKED[name]
    printed = run(*arguments)
    assert not [text for text in expected if text not in printed], printed
    assert "\x1b" not in printed


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("preprocess", ("sequences: [/s]",)),
        ("generate", ("texts: [/t]",)),
        ("encode", ("embeddings: [/e]",)),
        ("train", (f"test on {DATA} (", f"outputs: {FOLDER}", "register: ur4rec register")),
        ("register", (MODEL, ALIAS, f"try it: ur4rec recommend --user USER_ID --model models:/{MODEL}@{ALIAS}")),
        ("gate", (f"{MODEL} version 1 against champion",)),
    ],
)
def test_what_a_command_on_the_way_prints(shown: dict[str, str], name: str, expected: tuple[str, ...]) -> None:
    assert not [text for text in expected if text not in shown[name]], shown[name]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("data", "show", "[/nowhere]"), "Directory '[/nowhere]' does not exist."),
        (("data", "preprocess", "[b]n[/b].csv"), "Path '[b]n[/b].csv' does not exist."),
        (("data", "fetch", "[/ml]"), "[/ml]"),
        (("train", "[/s]", "--device", "[bold]"), "'[bold]' is not one of"),
        (("[/command]",), "No such command '[/command]'"),
        (("data", "show", "[/s]", "--[/option]"), "--[/option]"),
        (("data", "preprocess", "plays.csv", "--set", "[/key]=1"), "unknown key '[/key]'"),
        (("data", "preprocess", "plays.csv", "--set", "[/x]"), "--set [/x]: expected KEY=VALUE"),
        (("data", "preprocess", "plays.csv", "--set", "split='[/x]'"), "'[/x]'"),
        (("recommend", "--user", "u", "--model", "[/nowhere]"), "[/nowhere]: not found"),
        (("recommend", "--user", "u", "--model", "models:/[nowhere]@x"), "[nowhere]"),
        (("memory", "show", "[/nobody]", *REGISTERED), "[/nobody]"),
        (("registry", "show", "[/alias]", "--config", "names.yaml"), "[/alias]"),
        (("publish", "[/nowhere]", "x"), "[/nowhere]"),
        (("text", "generate", "[/s]", "--item-text", "[/i].json"), "[/i].json"),
        (("text", "generate", "[/s]", "--provider", "[/p]"), "got '[/p]'"),
        (("ablate", "[/s]", "[/e]", "--only", "[/v]"), "[/v]"),
        (("serve", "--model", "[/nowhere]"), "[/nowhere]"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_an_error_says(
    shown: dict[str, str], arguments: tuple[str, ...], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shown["folder"])
    assert expected in " ".join(run(*arguments, code=2).replace("│", " ").split())
