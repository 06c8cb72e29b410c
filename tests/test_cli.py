"""The command line, end to end on small data, and what it says when something is wrong."""

import csv
import json
import os
import random
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ur4rec import __version__
from ur4rec.cli import app
from ur4rec.config import CONFIGS
from ur4rec.registry.mlflow_client import prepare_mlflow
from ur4rec.scripts.train_ur4rec_moe import app as script
from ur4rec.storage.locks import LOCK, lock_folder

prepare_mlflow()
with warnings.catch_warnings():
    # MLflow warns about its own type hints while it is imported.
    warnings.simplefilter("ignore")
    import mlflow.pyfunc  # noqa: F401

# Of MLflow about its own dependencies.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow"),
]

STAGES = ("pretrain_sasrec", "pretrain_retriever", "joint_finetune", "end_to_end")
COMMANDS = [
    [],
    ["data"],
    ["data", "fetch"],
    ["data", "preprocess"],
    ["data", "import-legacy"],
    ["data", "show"],
    ["text"],
    ["text", "generate"],
    ["text", "encode"],
    ["train"],
    ["evaluate"],
    ["ablate"],
    ["tune"],
    ["register"],
    ["recommend"],
    ["serve"],
    ["memory"],
    ["memory", "stats"],
    ["memory", "show"],
    ["memory", "diff"],
    ["publish"],
    ["registry"],
    ["registry", "gate"],
]
ALONE = ["--set", "system=UR4RecMoEMemory"]
runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})


def run(*arguments: object, application: typer.Typer = app) -> str:
    result = runner.invoke(application, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.stdout


def fail(*arguments: object, application: typer.Typer = app) -> str:
    """The error line of a command that must end with exit code 2."""
    result = runner.invoke(application, [str(argument) for argument in arguments])
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    assert "Traceback" not in result.output
    return result.stderr


def write_plays(path: Path) -> Path:
    source = random.Random(1)
    rows: list[tuple[object, ...]] = [("user_id", "item_id", "timestamp"), ("shy", "i01", 5)]
    for user in range(1, 21):
        for step, item in enumerate(source.sample(range(1, 19), 12)):
            rows.append((f"u{user:02}", f"i{item:02}", 1_000_000 + 1000 * user + step))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything up to the registered model, made with the commands a user types."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "config.yaml").write_text("dataset_name: plays\n")
    config = ("--config", folder / "config.yaml")
    toy = ("--config", "toy", "--set", "epochs_per_stage=1", "--set", "bootstrap_samples=100")
    sequences, texts, embeddings, outputs = (folder / name for name in ("sequences", "texts", "embeddings", "outputs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        steps = {
            "preprocess": run("data", "preprocess", write_plays(folder / "plays.csv"), "-o", sequences, *config),
            "generate": run("text", "generate", sequences, "-o", texts),
            "encode": run("text", "encode", sequences, texts, "-o", embeddings, "--device", "cpu"),
            "train": run("train", sequences, embeddings, "-o", outputs, *toy, "--device", "cpu"),
        }
        last = outputs / "stages/end_to_end"
        steps["register"] = run("register", sequences, last / "checkpoint", last / "memories", "--outputs", outputs)
    (folder / "steps.json").write_text(json.dumps(steps))
    return folder


@pytest.fixture
def steps(folder: Path) -> dict[str, str]:
    texts: dict[str, str] = json.loads((folder / "steps.json").read_text())
    return texts


def test_version() -> None:
    assert run("--version") == f"ur4rec {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command_has_an_example_where_it_does_something(command: list[str]) -> None:
    text = run(*command, "--help")
    assert "Usage:" in text
    if command and command not in (["data"], ["text"], ["memory"], ["registry"]):
        assert f"ur4rec {' '.join(command)}" in text.partition("For example")[2]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['ur4rec', '--help']\n"
        "from ur4rec.cli import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'mlflow', 'pandas', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_names_the_formats_of_user_texts() -> None:
    text = run("text", "generate", "--help").split("--user-text")[1]
    assert "JSON, user id → text; or Parquet: user_id, as_of, text" in " ".join(text.replace("│", " ").split())


def test_every_config_option_lists_the_shipped_files() -> None:
    names = {path.stem for path in CONFIGS.glob("*.yaml")}
    assert names == {"auto", "toy", "ur4rec_moe_100k"}
    texts = [run(*command, "--help") for command in COMMANDS] + [run("--help", application=script)]
    texts = [text for text in texts if "--config" in text]
    assert len(texts) == 10
    for text in texts:
        assert all(name in text.split("--config")[-1] for name in names)


def test_preprocess_tells_what_was_left_out_and_what_is_kept(steps: dict[str, str]) -> None:
    assert "users left out: user below min seq len" in steps["preprocess"]
    assert "20 users, 18 items, 240 interactions: 200 train, 20 validation, 20 test" in steps["preprocess"]


def test_show_counts(folder: Path) -> None:
    text = run("data", "show", folder / "sequences")
    assert text.startswith("plays")
    assert "users left out" in text
    counts = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in text.splitlines() if "│" in line}
    assert counts["users"] == "20"
    assert counts["interactions"] == "240"
    assert counts["test targets"] == "20"


def test_train_leaves_the_files_and_shows_stages_and_systems(folder: Path, steps: dict[str, str]) -> None:
    outputs = folder / "outputs"
    for stage in STAGES:
        assert (outputs / f"{stage}_best.pt").is_file()
        assert (outputs / f"{stage}_memories.pt").is_file()
        assert stage in steps["train"]
    for name in ("final_model.pt", "final_memories.pt", "results.json", "report.html", "model_config.json"):
        assert (outputs / name).is_file()
    assert list((outputs / "logs").rglob("events.out.tfevents.*"))
    results = json.loads((outputs / "results.json").read_text())
    for system, metrics in results["test"].items():
        assert system in steps["train"]
        assert f"{metrics['ndcg@10']['value']:.4f}" in steps["train"]
    assert set(results["timings_s"]) >= {"preprocess_sequences", "encode_text", *STAGES, "evaluate"}


def test_evaluate_repeats_the_numbers(folder: Path, tmp_path: Path) -> None:
    checkpoint = folder / "outputs/stages/end_to_end/checkpoint"
    settings = ("--set", "bootstrap_samples=100")
    text = run("evaluate", folder / "sequences", checkpoint, "-o", tmp_path / "again", *settings)
    again = json.loads((tmp_path / "again/results.json").read_text())
    first = json.loads((folder / "outputs/results.json").read_text())
    assert again["test"] == first["test"]
    for part in ("config", "timings_s", "peak_memory_mb"):
        assert again[part].keys() == first[part].keys()
    assert "UR4RecV2MoE" in text
    assert (tmp_path / "again/report.html").is_file()


def test_a_single_stage_and_the_next(folder: Path, tmp_path: Path) -> None:
    sequences, embeddings = folder / "sequences", folder / "embeddings"
    toy = ("--config", "toy", "--set", "epochs_per_stage=1", "--device", "cpu")
    text = run("train", sequences, "--stage", "pretrain_sasrec", "-o", tmp_path / "one", *toy)
    assert "pretrain_sasrec" in text
    first = ("--previous", tmp_path / "one")
    run("train", sequences, embeddings, "--stage", "pretrain_retriever", *first, "-o", tmp_path / "two", *toy)
    assert (tmp_path / "two/checkpoint/pretrain_retriever_best.pt").is_file()
    assert (tmp_path / "two/checkpoint/pretrain_sasrec_best.pt").is_file()


def test_register_says_where_the_model_went(folder: Path, steps: dict[str, str]) -> None:
    registration = json.loads((folder / "outputs/registration.json").read_text())
    assert registration["tracking_uri"] == f"sqlite:///{folder}/mlflow.db"
    assert registration["run_id"] in steps["register"]


def recommended(text: str) -> list[str]:
    rows = [line.split("│") for line in text.splitlines() if line.startswith("│")]
    return [row[2].strip() for row in rows]


def test_registry_and_outputs_recommend_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    outputs = ("--model", folder / "outputs", "--sequences", folder / "sequences")
    registered = run("recommend", "--user", "u03", "-k", 4)
    assert len(recommended(registered)) == 4
    assert recommended(run("recommend", "--user", "u03", "-k", 4, *outputs)) == recommended(registered)
    history = ("recommend", "--history", "i02, i03,nope", "-k", 18)
    text = run(*history, *outputs)
    assert text.startswith("history (source: history)")
    assert run("recommend", "--history", "nope", *outputs).startswith("history (source: fallback)")
    assert registered.startswith("user u03 (source: user)")
    assert "1 item(s) of the history are not in the catalogue" in text
    assert {"i02", "i03"}.isdisjoint(recommended(text))
    assert set(recommended(run(*history, *outputs, "--include-seen"))) > {"i02", "i03"}
    assert "popular recently" in run("recommend", "--user", "nobody", *outputs)


def test_a_history_is_split_repeated_or_read_from_a_file(folder: Path, tmp_path: Path) -> None:
    outputs = ("--model", folder / "outputs", "--sequences", folder / "sequences", "-k", 18)
    (tmp_path / "ids.txt").write_text("i02\r\ni03\n\nnope, not\n")
    expected = recommended(run("recommend", "--history", "i02,i03", *outputs))
    assert recommended(run("recommend", "--history", "i02", "--history", "i03", *outputs)) == expected
    text = run("recommend", "--history-file", tmp_path / "ids.txt", *outputs)
    assert recommended(text) == expected
    assert "1 item(s) of the history are not in the catalogue" in text
    split = run("recommend", "--history", "i02,i03,nope, not", *outputs)
    assert "2 item(s) of the history are not in the catalogue" in split


def test_memories_of_the_registered_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    text = run("memory", "stats")
    assert text.startswith("memory after every interaction")
    assert "total_users" in text
    shown = run("memory", "show", "u03")
    assert "user u03, after every interaction: 12 read" in shown
    assert "slots, newest first" in shown


def test_memories_of_a_folder_of_outputs(folder: Path) -> None:
    assert run("memory", "stats", "--model", folder / "outputs").startswith("memory after the training")
    shown = run("memory", "show", "u03", "--model", folder / "outputs", "--sequences", folder / "sequences")
    assert "user u03, after the training interactions: 10 read" in shown
    assert "slots, newest first" in shown


@pytest.mark.parametrize(
    "command", [("recommend", "--user", "1"), ("memory", "stats"), ("memory", "show", "1")], ids=" ".join
)
def test_a_question_to_an_empty_folder_leaves_it_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert f"{tmp_path}/mlflow.db: not found; register a model first" in fail(*command)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recommend"], "expected one of --user"),
        (["recommend", "--user", "1", "--history", "2"], "expected one of --user"),
        (["recommend", "--history", "1", "--history-file", "plays.csv"], "expected one of --user"),
        (["recommend", "--history", " , "], "--history: holds no item id; expected some"),
        (["recommend", "--history-file", "nowhere"], "File 'nowhere' does not exist."),
        (["recommend", "--history-file", "empty.txt"], "--history-file empty.txt: holds no item id"),
        (["recommend", "--history-file", "latin.txt"], "--history-file latin.txt: expected text in UTF-8"),
        (["recommend", "--user", "1", "--model", "nowhere"], "nowhere: not found"),
        (["recommend", "--user", "1", "--model", "."], "--sequences"),
        (["data", "fetch", "ml-100"], "did you mean 'ml-100k'?"),
        (["data", "preprocess", "plays.csv", "--set", "min_seq=5"], "did you mean 'min_seq_len'?"),
        (["data", "preprocess", "plays.csv", "--set", "min_seq_len"], "expected KEY=VALUE"),
        (["data", "preprocess", "plays.csv", "--config", "absent.yaml"], "absent.yaml"),
        (["data", "preprocess", "plays.csv", "--set", "min_rating=[1"], "min_rating"),
        (["data", "show", "."], "manifest.json: not found"),
        (["train", "."], "EMBEDDINGS: missing"),
        (["train", ".", ".", "--stage", "end_to_end"], "--previous: missing"),
        (["train", ".", ".", "--stage", "stage5"], "stage5"),
        (["train", ".", ".", "--stage", "joint_finetune", *ALONE], "pretrain_retriever, end_to_end"),
        (["train", ".", "--stage", "pretrain_sasrec", *ALONE], "pretrain_retriever, end_to_end"),
        (["train", ".", ".", "--stage", "pretrain_retriever", *ALONE], "manifest.json: not found"),
        (["train", ".", ".", "--stage", "end_to_end", *ALONE], "--previous: missing"),
        (["train", ".", "--device", "gpu"], "'gpu' is not one of 'auto', 'cpu', 'cuda'"),
        (["text", "encode", ".", ".", "--device", "gpu"], "'gpu' is not one of 'auto', 'cpu', 'cuda'"),
        (["data", "preprocess", "plays.csv", "-o", "plays.csv/x"], "plays.csv: File exists"),
        (["evaluate", ".", "."], "not found"),
        (["memory", "stats", "--model", "."], "not found"),
        (["memory", "stats", "--model", "nowhere"], "nowhere: not found"),
        (["memory", "show", "u1", "--model", "."], "--sequences"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_errors_are_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, str, str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_plays(tmp_path / "plays.csv")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "latin.txt").write_bytes("Amélie".encode("latin-1"))
    assert message in fail(*arguments)


def test_an_error_is_a_single_line_and_debug_shows_the_exception(tmp_path: Path) -> None:
    line = fail("data", "show", tmp_path)
    assert line.startswith("Error: ")
    assert line.count("\n") == 1
    result = runner.invoke(app, ["--debug", "data", "show", str(tmp_path)])
    assert result.exit_code == 1
    assert type(result.exception).__name__ == "ArtifactError"


@pytest.mark.parametrize(
    ("missing", "message"), [("--data_dir", "holds no sequences"), ("--llm_data_dir", "neither embeddings nor texts")]
)
def test_script_names_the_folder_that_holds_nothing(folder: Path, tmp_path: Path, missing: str, message: str) -> None:
    (tmp_path / "empty/inner").mkdir(parents=True)
    folders = {"--data_dir": folder / "sequences", "--llm_data_dir": folder / "texts"} | {
        missing: tmp_path / "empty/inner"
    }
    arguments = [part for pair in folders.items() for part in pair]
    assert message in fail(*arguments, "--output_dir", tmp_path / "out", application=script)


def test_script_refuses_an_unknown_device(folder: Path, tmp_path: Path) -> None:
    arguments = ("--data_dir", folder / "sequences", "--llm_data_dir", folder / "texts", "--device", "gpu")
    assert "'gpu' is not one of" in fail(*arguments, "--output_dir", tmp_path / "out", application=script)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("application", [app, script], ids=["ur4rec", "script"])
def test_ctrl_c_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, application: typer.Typer
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ur4rec.local.train_all", interrupt)
    sequences, embeddings = folder / "sequences", folder / "embeddings"
    arguments = ["train", sequences, embeddings, "-o", tmp_path]
    if application is script:
        arguments = ["--data_dir", sequences, "--llm_data_dir", embeddings, "--output_dir", tmp_path, "--config", "toy"]
    result = runner.invoke(application, [str(argument) for argument in arguments])
    line = "interrupted" if application is script else "interrupted; the same command with --resume goes on from there"
    assert (result.exit_code, result.stderr, result.stdout) == (130, f"{line}\n", "")


@pytest.mark.parametrize("stage", [(), ("--stage", "pretrain_sasrec")], ids=["all", "one"])
def test_a_second_training_in_the_same_folder_ends_at_once(
    folder: Path, tmp_path: Path, stage: tuple[str, ...]
) -> None:
    with lock_folder(tmp_path):
        line = fail("train", folder / "sequences", folder / "embeddings", "-o", tmp_path, *stage)
    assert "another run is using it" in line
    assert "choose another -o" in line
    assert line.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


@pytest.mark.parametrize(("before", "after"), [(None, "passive"), ("active", "active")])
@pytest.mark.parametrize("application", [app, script], ids=["ur4rec", "script"])
def test_waiting_threads_sleep_unless_the_user_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, application: typer.Typer, before: str | None, after: str
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", before or "")
    if before is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    arguments = ["data", "show", tmp_path]
    if application is script:
        arguments = ["--data_dir", tmp_path, "--llm_data_dir", tmp_path, "--output_dir", tmp_path]
    fail(*arguments, application=application)
    assert os.environ["OMP_WAIT_POLICY"] == after
