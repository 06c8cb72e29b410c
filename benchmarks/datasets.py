"""Any data sets by all systems: baselines, closed forms, public transformers and ours by stage, in one table.

Every system gets the same leave-one-out split, trains in a process of its own, makes its choices on the validation
targets and is ranked by the same code. What is trained is kept, so that a run which was stopped goes on.
docs/benchmarks.md says how to read the table.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from benchmarks.datasets_inputs import Dataset, prepare_dataset
from benchmarks.datasets_report import (
    COLUMNS,
    DIFFERENCE_COLUMNS,
    GROUPS,
    describe_dataset,
    list_difference_rows,
    list_group_rows,
    list_rows,
    write_markdown,
)
from benchmarks.datasets_systems import (
    ABLATIONS,
    PEERS,
    SYSTEMS,
    Options,
    Outcome,
    count_trainings,
    reads_text,
    run_system,
)
from benchmarks.peer_jobs import BenchmarkError, Job
from benchmarks.peers import describe_machine
from ur4rec.commands.console import ConfigOption, SetOption, report_errors, split_settings
from ur4rec.config import SHIPPED, load_config
from ur4rec.evaluation.provenance import describe_versions
from ur4rec.storage.artifacts import write_text_atomic
from ur4rec.terminal import PlainColumn, PlainConsole

FOLDER = Path("outputs/bench/datasets")
WIDTH = 200
"""Columns of the terminal that the table takes."""
PROTOCOL = "leave-one-out; whole catalogue; mean over the places of ties; every choice on validation"


class Board:
    """Shows how many trainings are done, and the newest line of each that runs; plain lines off a terminal."""

    def __init__(self, bar: Progress, total: int) -> None:
        self._bar, self._total, self._done = bar, total, 0
        self._whole = bar.add_task("trainings", total=total)

    @contextmanager
    def follow(self, name: str) -> Iterator[Any]:
        """Show a training; yields a function for its lines of progress."""
        line = self._bar.add_task(name, total=None)
        yield lambda text: self._bar.update(line, description=f"{name}: {text}")
        self._bar.remove_task(line)

    def advance(self, name: str) -> None:
        """Count one more training."""
        self._done += 1
        self._bar.advance(self._whole)
        if self._bar.disable:
            print(f"{self._done}/{self._total} {name}", flush=True)


def run_all(datasets: Sequence[Dataset], systems: Sequence[str], options: Options, jobs: int) -> list[list[Outcome]]:
    """Return the outcomes of every system, by data set; one that fails leaves the others alone."""
    pairs = [(dataset, system) for dataset in datasets for system in systems]
    total = sum(count_trainings(dataset, system, options) for dataset, system in pairs)
    columns = PlainColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with (
        Progress(*columns, console=PlainConsole(), disable=not sys.stdout.isatty()) as bar,
        ThreadPoolExecutor(jobs) as pool,
    ):
        board = Board(bar, total)

        def run(pair: tuple[Dataset, str]) -> Outcome:
            dataset, system = pair
            name = f"{dataset.data.name}, {system}"

            def done(job: Job, seed: int) -> None:
                board.advance(f"{name}, {job.setting.name}, seed {seed}")

            with board.follow(name) as tell:
                try:
                    return run_system(dataset, system, options, done, tell)
                except BenchmarkError as error:
                    return Outcome(dataset, system, error=f"failed: {error}")

        outcomes = list(pool.map(run, pairs))
    return [outcomes[start : start + len(systems)] for start in range(0, len(outcomes), len(systems))]


def main(
    data: Annotated[list[Path], typer.Argument(help="Sequences folder, or what `ur4rec data preprocess` reads.")],
    embeddings: Annotated[
        list[Path] | None, typer.Option(help="Text embeddings of one of the data sets; else made here.", exists=True)
    ] = None,
    systems: Annotated[
        list[str] | None,
        typer.Option(help=f"Only this one; may be repeated: {', '.join(SYSTEMS)}; or {', '.join(ABLATIONS)}."),
    ] = None,
    config: ConfigOption = SHIPPED,
    overrides: SetOption = None,
    seeds: Annotated[list[int] | None, typer.Option("--seed", help="May be repeated.")] = None,
    peers_python: Annotated[Path, typer.Option(help="Python of the environment that holds the peers.")] = Path(
        ".venv-bench/bin/python"
    ),
    settings: Annotated[list[str] | None, typer.Option(help="Of the peers only this one; may be repeated.")] = None,
    limit: Annotated[float | None, typer.Option(min=0, help="Minutes after which a peer's training ends.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of every system.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at once, each with its threads.")] = 1,
    output: Annotated[Path, typer.Option("--output", "-o")] = FOLDER,
    quick: Annotated[bool, typer.Option("--quick", help="Two epochs of every peer: proves that it runs.")] = False,
) -> None:
    """Train what is missing, and write the table as JSON and Markdown."""
    with report_errors():
        chosen = _check(systems or SYSTEMS, peers_python)
        loaded, machine = load_config(config, split_settings(overrides or ())), describe_machine(threads)
        with_text = any(reads_text(system) for system in chosen)
        datasets = [prepare_dataset(place, embeddings or (), output / "data", loaded, with_text) for place in data]
        seconds = math.inf if limit is None else 60 * limit
        options = Options(
            output.absolute(), loaded, seeds or [42], peers_python, threads, seconds, settings or (), quick
        )
        outcomes = run_all(datasets, chosen, options, jobs)
        report = {"protocol": PROTOCOL, "quick": quick, "machine": machine, "versions": describe_versions()}
        report["datasets"] = [describe_dataset(each) for each in outcomes]
        _write(report, output)
        failed = [one.error for each in outcomes for one in each if one.error.startswith("failed")]
        if failed:
            raise BenchmarkError("; ".join(failed))


def _check(systems: Sequence[str], python: Path) -> Sequence[str]:
    known = *SYSTEMS, *ABLATIONS
    if unknown := sorted(set(systems) - set(known)):
        raise BenchmarkError(f"--systems {unknown[0]}: expected one of {', '.join(known)}")
    if not python.is_file() and set(systems) & set(PEERS):
        raise BenchmarkError(
            f"--peers-python {python}: no such file; `make .venv-bench/installed` makes the environment"
        )
    return systems


def _write(report: dict[str, Any], output: Path) -> None:
    write_text_atomic(output / "datasets.json", json.dumps(report, indent=1) + "\n")
    write_text_atomic(output / "datasets.md", write_markdown(report))
    _show("Test targets; the best other is that of the best test score", COLUMNS, list_rows(report["datasets"]))
    groups = list_group_rows(report["datasets"])
    _show("NDCG@10 by the target's training interactions", ("data set", "system", *GROUPS), groups)
    if differences := list_difference_rows(report["datasets"]):
        _show("Differences, paired by user; NDCG@10 by the target's count", DIFFERENCE_COLUMNS, differences)
    print(f"report: {output / 'datasets.json'}, {output / 'datasets.md'}")


def _show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    PlainConsole(width=WIDTH).print(table)


if __name__ == "__main__":
    typer.run(main)
