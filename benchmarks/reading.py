"""One million rows of every text format: preprocessing against the plain pandas way of doing less.

`python -m benchmarks.reading outputs/bench/reading --against FOLDER` writes the files, then runs the tasks of a format
in turn, each in a process of its own, and prints the medians. The peer reads the file, makes both ids numbers and sorts
by user and time: no check of any row, no split, nothing written. `--against` names a checkout of another commit, whose
preprocessing of the CSV file runs in the same turns.
"""

from __future__ import annotations

import ast
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.table import Table

from benchmarks.field_formats import Format, Log, Sample, make_log, write_sample
from benchmarks.field_formats.containers import write_delimited
from benchmarks.field_formats.json_lines import write_amazon_2014, write_amazon_2014_gz, write_steam
from benchmarks.field_formats.lists import write_s3rec, write_sasrec
from benchmarks.field_formats.logs import write_amazon_2018_ratings, write_gowalla
from benchmarks.field_formats.movielens import write_1m_ratings, write_inter
from ur4rec.storage.artifacts import peak_memory_mb
from ur4rec.terminal import PlainConsole

NUM_USERS, LONGEST, NUM_ITEMS, NUM_ROWS = 20_000, 97, 4_999, 1_000_000
Read = Callable[[Path], pd.DataFrame]
COLUMNS = ["user_id", "item_id", "timestamp"]
OURS, PEER, BEFORE = "preprocess", "pandas", "before"
PREPROCESS = """
import sys, time
from pathlib import Path
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.storage.artifacts import peak_memory_mb
path, out, *columns = sys.argv[1:]
config = DataConfig.parse({"columns": columns[0]} if columns else {})
started = time.perf_counter()
manifest = preprocess_sequences(Path(path), Path(out), config)
seconds = time.perf_counter() - started
print([seconds, peak_memory_mb(), manifest.details["rows"]["read"]])
"""
"""Runs in this checkout and in an older one."""


def make_large_log() -> Log:
    """A million rows of the same kind as the small samples."""
    log = make_log(NUM_USERS, NUM_ITEMS, LONGEST)
    return Log(log.rows[:NUM_ROWS].reset_index(drop=True), log.items)


def _read_literals(path: Path) -> pd.DataFrame:
    with path.open() as file:
        table = pd.DataFrame([ast.literal_eval(line) for line in file])
    return table.assign(date=pd.to_datetime(table.date))[["username", "product_id", "date"]]


def _read_sequences(path: Path) -> pd.DataFrame:
    lines = (line.split() for line in path.read_text().splitlines())
    table = pd.DataFrame([(line[0], line[1:]) for line in lines], columns=["user", "item"]).explode("item")
    return table.assign(time=table.groupby("user").cumcount())


def _read_pairs(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, sep=" ", header=None, names=["user", "item"])
    return table.assign(time=table.groupby("user").cumcount())


def _read_gowalla(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, sep="\t", header=None, names=["user", "time", "latitude", "longitude", "item"])
    return table.assign(time=pd.to_datetime(table.time))[["user", "item", "time"]]


def _read_delimited(path: Path, separator: str = ",", **options: object) -> pd.DataFrame:
    return pd.read_csv(path, sep=separator, **options).iloc[:, [0, 1, -1]]  # type: ignore[call-overload, no-any-return]


def _read_json(path: Path) -> pd.DataFrame:
    return pd.read_json(path, lines=True)[["reviewerID", "asin", "unixReviewTime"]]


def _list_delimited(name: str, separator: str) -> tuple[Format, Read]:
    def read(path: Path) -> pd.DataFrame:
        return pd.read_csv(path, sep=separator)[COLUMNS]

    return Format(name, partial(write_delimited, name=name, separator=separator)), read


BY_POSITION = "item_id=1,user_id=2,rating=3,timestamp=4"
FORMATS: list[tuple[Format, Read]] = [
    _list_delimited("plays.csv", ","),
    _list_delimited("plays.tsv", "\t"),
    _list_delimited("semicolons.csv", ";"),
    _list_delimited("plays.csv.gz", ","),
    _list_delimited("plays.csv.bz2", ","),
    _list_delimited("plays.csv.xz", ","),
    (
        Format("without names, --columns", write_amazon_2018_ratings, options=(BY_POSITION,)),
        partial(_read_delimited, header=None),
    ),
    (Format("RecBole .inter", write_inter), partial(_read_delimited, separator="\t")),
    (Format("ratings.dat", write_1m_ratings), partial(_read_delimited, separator="::", header=None, engine="python")),
    (Format("tabs and ISO times", write_gowalla), _read_gowalla),
    (Format("JSON lines", write_amazon_2014), _read_json),
    (Format("JSON lines .gz", write_amazon_2014_gz), _read_json),
    (Format("Python literals", write_steam), _read_literals),
    (Format("user item item …", write_s3rec), _read_sequences),
    (Format("user item", write_sasrec), _read_pairs),
]


def run_peer(number: int, path: Path) -> list[float]:
    """Seconds, peak MiB and rows of the pandas way, in this process."""
    import time

    started = time.perf_counter()
    table = FORMATS[number][1](path).set_axis(COLUMNS, axis=1)
    for column in ("user_id", "item_id"):
        table[column] = pd.factorize(table[column])[0]
    table = table.sort_values(["user_id", "timestamp"], kind="stable")
    seconds = time.perf_counter() - started
    return [seconds, peak_memory_mb(), len(table)]


def run_task(task: str, number: int, sample: Sample, folder: Path, before: Path | None) -> list[float]:
    """Runs a task in a process of its own, with one thread."""
    options = FORMATS[number][0].options
    if task == PEER:
        command = [sys.executable, "-m", "benchmarks.reading", "--peer", str(number), str(sample.path)]
    else:
        command = [sys.executable, "-c", PREPROCESS, str(sample.path), str(folder / "sequences"), *options]
    checkout = before if task == BEFORE and before else Path.cwd()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=checkout)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def measure(number: int, folder: Path, log: Log, repeats: int, before: Path | None) -> dict[str, tuple[float, float]]:
    """Medians of the seconds and of the peak MiB by task, the tasks of a round one after the other."""
    form = FORMATS[number][0]
    sample = write_sample(form, folder / f"{number:02d}", log)
    tasks = [OURS, PEER, *([BEFORE] if before and form.name.endswith(".csv") and number == 0 else [])]
    runs: dict[str, list[list[float]]] = {task: [] for task in tasks}
    for _ in range(repeats):
        for task in tasks:
            runs[task].append(run_task(task, number, sample, folder, before))
    assert {run[2] for task in tasks for run in runs[task]} == {len(log.rows)}
    return {
        task: (statistics.median(run[0] for run in found), statistics.median(run[1] for run in found))
        for task, found in runs.items()
    }


def main(
    arguments: Annotated[list[str], typer.Argument(help="Folder for the files.")],
    repeats: int = 3,
    against: Annotated[Path | None, typer.Option(help="Checkout of another commit.")] = None,
    peer: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Prints the table."""
    if peer is not None:
        print(json.dumps(run_peer(peer, Path(arguments[0]))))
        return
    folder, log = Path(arguments[0]).resolve(), make_large_log()
    table = Table("format", "seconds", "pandas", "ratio", "MiB", "pandas", "ratio", title=f"{NUM_ROWS:,} rows")
    for number, (form, _) in enumerate(FORMATS):
        results = measure(number, folder, log, repeats, against)
        ours, theirs = results[OURS], results[PEER]
        table.add_row(
            form.name,
            *(f"{ours[0]:.2f}", f"{theirs[0]:.2f}", f"{ours[0] / theirs[0]:.2f}"),
            *(f"{ours[1]:,.0f}", f"{theirs[1]:,.0f}", f"{ours[1] / theirs[1]:.2f}"),
        )
        if BEFORE in results:
            seconds, memory = results[BEFORE]
            table.add_row(
                "… before",
                f"{seconds:.2f}",
                "",
                f"{ours[0] / seconds:.2f}",
                f"{memory:,.0f}",
                "",
                f"{ours[1] / memory:.2f}",
            )
    PlainConsole().print(table)


if __name__ == "__main__":
    typer.run(main)
