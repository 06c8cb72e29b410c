"""`ur4rec text` with a language model: the estimate, the budget, the check, and what is wrong in one line."""

import io
import json
import random
import re
from pathlib import Path

import pandas as pd
import pytest
from emulators import put_object
from server import Behaviour, ChatServer, serve
from typer.testing import CliRunner

from ur4rec.cli import app
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import load_sequences
from ur4rec.storage.artifacts import read_artifact
from ur4rec.text.provider_table import PROVIDERS

runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})
KEY = "sk-toy-0123456789abcdef"
NAMES = [repr(name) for name in PROVIDERS]
NUM_USERS, NUM_ITEMS, LENGTH = 24, 40, 14
NUM_TEXTS = NUM_ITEMS + NUM_USERS  # one snapshot a user, after 10 of 12 interactions


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text_commands")
    draw = random.Random(0)
    rows = [
        (f"u{user}", f"i{item}", 10 * time)
        for user in range(NUM_USERS)
        for time, item in enumerate(draw.sample(range(NUM_ITEMS), LENGTH))
    ]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(folder / "plays.csv", index=False)
    titles = {"item_id": [f"i{item}" for item in range(NUM_ITEMS)], "title": [f"Story {n}" for n in range(NUM_ITEMS)]}
    pd.DataFrame(titles).to_csv(folder / "items.csv", index=False)
    preprocess_sequences(folder / "plays.csv", folder / "sequences", DataConfig(), items=folder / "items.csv")
    return folder / "sequences"


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("DASHSCOPE_API_KEY", raising=False)


def run(*arguments: object, code: int = 0) -> tuple[str, str]:
    """Standard output and error of a command with this exit code."""
    result = runner.invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    assert "Traceback" not in result.output
    assert KEY not in result.output
    return result.stdout, result.stderr


def options(server: ChatServer, folder: Path) -> tuple[object, ...]:
    address = f"text_base_url={server.url}/compatible-mode/v1"
    return "-o", folder / "out", "--provider", "openai", "--cache", folder / "cache", "--set", address


def test_the_estimate_is_a_table_and_sends_nothing(
    sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    options = ("--provider", "dashscope", "--cache", tmp_path / "cache", "--estimate", "-o", tmp_path / "out")
    text, _ = run("text", "generate", sequences, *options)
    assert re.search(r"Estimate for qwen-flash, prices as of \d{4}-\d\d-\d\d", text)
    rows = [[cell.strip() for cell in line.strip("┃│ ").split(line[0])] for line in text.splitlines()[2:]]
    header, values = rows[0], rows[2]
    assert header == ["texts", "calls", "tokens in", "tokens out", "price"]
    assert [row[0] for row in read_rows(text)[-2:]] == ["8", "10, shipped"]
    assert values[:2] == [str(NUM_TEXTS), str(NUM_TEXTS)]
    assert values[3] == f"{NUM_ITEMS * 75 + NUM_USERS * 150:,}"
    assert re.fullmatch(r"0\.\d{4} USD", values[4])
    assert "shipped: with the shipped run's grid" in text
    assert not (tmp_path / "out").exists()
    by_base = read_rows(run("text", "generate", sequences, *options, "--set", "snapshot_base=3")[0])[-2:]
    assert [[row[0], row[1], row[2], row[4], row[6]] for row in by_base] == [
        ["3", f"{3 * NUM_USERS}", f"{3 * NUM_USERS}", f"{3 * NUM_USERS * 150:,}", "100.0 %"],
        ["10, shipped", f"{NUM_USERS}", f"{NUM_USERS}", f"{NUM_USERS * 150:,}", "100.0 %"],
    ]
    assert all(re.fullmatch(r"0\.\d{4} USD", row[5]) for row in by_base)
    text, _ = run("text", "generate", sequences, *options, "--set", "snapshot_base=10")
    assert "shipped" not in text
    text, _ = run("text", "generate", sequences, *options, "--model", "mystery")
    assert "price unknown" in text


def read_rows(text: str) -> list[list[str]]:
    """The cells of every line of a table."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]


def test_the_estimate_of_the_template_says_that_it_is_free(sequences: Path) -> None:
    assert "the template provider makes no calls" in run("text", "generate", sequences, "--estimate")[0]


@pytest.mark.server
def test_texts_are_written_and_then_cost_nothing(sequences: Path, tmp_path: Path) -> None:
    with serve(Behaviour(api_key=KEY)) as server:
        arguments = ("text", "generate", sequences, *options(server, tmp_path))
        text, _ = run(*arguments)
        assert f"{NUM_TEXTS} calls" in text
        assert f"texts: {tmp_path / 'out'}" in text
        assert server.counts()["calls"] == NUM_TEXTS
        text, _ = run(*arguments, "--budget", "0")
        assert f"{NUM_TEXTS} of {NUM_TEXTS} texts from the cache, 0 calls" in text
        text, _ = run(*arguments, "--estimate")
        assert "0.0000 USD" in text
    run("text", "check", sequences, "--texts", tmp_path / "out")


@pytest.mark.server
def test_a_budget_that_is_spent_is_one_line(sequences: Path, tmp_path: Path) -> None:
    with serve(Behaviour()) as server:
        arguments = ("text", "generate", sequences, *options(server, tmp_path))
        _, error = run(*arguments, "--budget", "0.001", "--set", "text_concurrency=1", code=2)
        calls = server.counts()["calls"]
        _, unknown = run(*arguments, "--budget", "1", "--model", "mystery", code=2)
        assert server.counts()["calls"] == calls
    assert error.startswith("Error: the budget of 0.001 USD would be exceeded: 0.00")
    assert f"on {calls} answers, which are kept" in error
    assert 0 < calls < NUM_TEXTS
    assert (error + unknown).count("\n") == 2
    assert "no price is known for 'mystery'" in unknown


@pytest.mark.server
def test_a_wrong_key_is_one_line_after_a_few_calls(sequences: Path, tmp_path: Path) -> None:
    with serve(Behaviour(api_key="sk-another", latency_ms=10)) as server:
        few = ("--set", "text_concurrency=3")
        arguments = ("text", "generate", sequences, *options(server, tmp_path), *few)
        _, error = run(*arguments, code=2)
        assert 1 <= server.counts()["calls"] <= 3
    assert error.startswith(f"Error: openai qwen-flash at {server.url}/compatible-mode/v1: access was denied")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--provider", "openai"], "text_provider openai needs an address, such as http://vllm:8000/v1"),
        (["--provider", "dashscope"], "set DASHSCOPE_API_KEY"),
        (["--set", "text_base_url=https://me:sk-toy-0123456789abcdef@host"], "without user and password"),
        (["--provider", "nobody"], f"{', '.join(NAMES[:-1])} or {NAMES[-1]}, got 'nobody'"),
        (["--provider", "dashscope", "--cache", "s4://bucket"], "expected a folder or gs://bucket/prefix"),
        (["--max-failed-share", "2"], "text_max_failed_share"),
        (["--set", "text_item_prompt=item.v9"], "item.v9: no such prompt"),
        (["--budget", "-1"], "'--budget': Input should be greater than or equal to 0"),
        (["--prices", "absent.yaml"], "absent.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_asked_is_refused(
    sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", "" if arguments[-1] == "dashscope" else KEY)
    if "text_item_prompt" in arguments[-1]:
        arguments = ["--provider", "dashscope", *arguments]
    own_cache = [] if "--cache" in arguments else ["--cache", str(tmp_path / "cache")]
    _, error = run("text", "generate", sequences, "-o", tmp_path / "out", *own_cache, *arguments, code=2)
    assert message in " ".join(error.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_the_check_ends_with_2_where_texts_leak(sequences: Path, tmp_path: Path) -> None:
    run("text", "generate", sequences, "-o", tmp_path / "out")
    text, _ = run("text", "check", sequences, "--texts", tmp_path / "out", "--report", tmp_path / "fine.json")
    assert "out: no leak found" in text
    assert f"own texts: {NUM_USERS} of {NUM_USERS} are written from the training prefix alone (exact)" in text
    assert json.loads((tmp_path / "fine.json").read_text())["passed"] is True

    data = load_sequences(sequences)
    full = data.histories("full")
    last = [data.item_ids[full.items[end - 1]].removeprefix("i") for end in full.offsets[2:]]
    leaky = {user: f"Likes Story {item}." for user, item in zip(data.user_ids[1:], last, strict=True)}
    (tmp_path / "leaky.json").write_text(json.dumps(leaky))
    check = ("text", "check", sequences, "--user-text", tmp_path / "leaky.json", "--report", tmp_path / "leak.json")
    text, error = run(*check, code=2)
    assert "leaky.json: LEAK" in text
    assert error.startswith("Error: ")
    assert error.count("\n") == 1
    report = json.loads((tmp_path / "leak.json").read_text())
    assert report["passed"] is False
    assert report["imported"]["test_rate"] == 1.0


@pytest.mark.parametrize("which", [[], ["--texts", ".", "--user-text", "texts.json"]])
def test_the_check_takes_one_kind_of_texts(
    sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("texts.json").write_text("{}")
    _, error = run("text", "check", sequences, *which, code=2)
    assert error == "Error: pass either --texts FOLDER or --user-text FILE\n"


def test_generation_with_leaky_imported_texts_fails_and_names_them(sequences: Path, tmp_path: Path) -> None:
    data = load_sequences(sequences)
    full = data.histories("full")
    texts = {
        user: f"Likes Story {data.item_ids[full.items[end - 1]].removeprefix('i')}."
        for user, end in zip(data.user_ids[1:], full.offsets[2:], strict=True)
    }
    (tmp_path / "leaky.json").write_text(json.dumps(texts))
    text, error = run(
        "text", "generate", sequences, "-o", tmp_path / "out", "--user-text", tmp_path / "leaky.json", code=2
    )
    assert "generate_text: leak check: LEAK" in text
    assert "own texts" not in error
    assert "the texts know what they should not" in error
    _, error = run("text", "encode", sequences, tmp_path / "out", "-o", tmp_path / "embeddings", code=2)
    assert error.endswith("these texts leak and are for looking at only; `ur4rec text check` tells more\n")


@pytest.mark.parametrize("command", ["generate", "encode"])
def test_the_sequences_are_not_replaced_by_what_is_made_from_them(
    sequences: Path, tmp_path: Path, command: str
) -> None:
    texts = tmp_path / "texts"
    run("text", "generate", sequences, "-o", texts)
    inputs = [sequences] if command == "generate" else [sequences, texts]
    _, error = run("text", command, *inputs, "-o", sequences, code=2)
    wrote = f"{sequences}: holds what preprocess_sequences wrote, refusing to replace it by what {command}_text writes"
    assert f"{wrote}; choose another folder, with -o" in error
    assert load_sequences(sequences).num_users == NUM_USERS
    run("text", "generate", sequences, "-o", texts)  # a second time


@pytest.mark.emulator
def test_texts_below_gs_are_read(sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    monkeypatch.setenv("UR4REC_CACHE", str(tmp_path / "cache"))
    users = io.BytesIO()
    pd.DataFrame(
        {"user_id": ["u1", "u3"], "as_of": [10, 5], "text": ["One likes tales.", "Three does not."]}
    ).to_parquet(users)
    put_object(bucket, "texts/items.json", json.dumps({f"i{item}": f"Tale {item}." for item in range(20)}).encode())
    put_object(bucket, "texts/users.parquet", users.getvalue())
    items = f"gs://{bucket}/texts/items.json"
    arguments = ("--item-text", items, "--user-text", f"gs://{bucket}/texts/users.parquet", "--set", "snapshot_base=3")
    run("text", "generate", sequences, "-o", tmp_path / "texts", *arguments)
    assert read_artifact(tmp_path / "texts").details["items"]["by_source"]["imported"] == 20
    _, error = run("text", "generate", sequences, "--item-text", f"{items}.json", code=2)
    assert "nothing is there" in " ".join(error.split())
