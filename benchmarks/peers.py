"""RecBole's and RecTools' SASRec beside our first stage and our four stages, on MovieLens-100K, in one run.

Every system gets the same leave-one-out split as arrays, trains in a process of its own with the same number of
threads, and returns its validation curve with clocks and its scores, which are ranked here. docs/benchmarks.md says how
to read the result.
"""

from __future__ import annotations

import json
import os
import platform
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.peer_exchange import HORIZONS, Split
from benchmarks.peer_jobs import OURS, BenchmarkError, Job, System, list_our_jobs, list_peer_jobs, run_job
from benchmarks.peer_report import (
    Measured,
    build_report,
    compare_all,
    summarize,
    tabulate_comparisons,
    tabulate_cost,
    tabulate_quality,
)
from benchmarks.preprocess import measure
from ur4rec.commands.console import report_errors
from ur4rec.config import SHIPPED, load_config
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.data.sources import fetch
from ur4rec.storage.artifacts import write_text_atomic
from ur4rec.terminal import PlainConsole
from ur4rec.text.config import EncodeConfig, TextConfig
from ur4rec.text.encode import encode_text
from ur4rec.text.generate import generate_text

FOLDER = Path("outputs/bench/peers")
TEXTS, EMBEDDINGS = "llm_text", "text_embeddings"


def prepare_data(source: Path | None, sequences: Path) -> tuple[Sequences, Split]:
    """Fetches, splits; returns the data set and what every system gets of it."""
    config = load_config(SHIPPED).narrow(DataConfig)
    preprocess_sequences(fetch("ml-100k", source), sequences, config)
    data = load_sequences(sequences)
    seen = {"validation": data.histories("validation"), "test": data.histories("test")}
    return data, Split(data.num_items, seen, dict(zip(HORIZONS, (data.val, data.test), strict=True)))


def prepare_text(sequences: Path) -> None:
    """Writes and encodes the texts that stages 2 to 4 read, beside the sequences."""
    config = load_config(SHIPPED)
    texts, embeddings = sequences.with_name(TEXTS), sequences.with_name(EMBEDDINGS)
    generate_text(sequences, texts, config.narrow(TextConfig))
    encode_text(sequences, texts, embeddings, config.narrow(EncodeConfig), device="cpu")


def describe_machine(threads: int) -> dict[str, Any]:
    """What the times are taken on."""
    return {
        "processor": _read_processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "platform": platform.platform(terse=True),
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def _read_processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def main(
    data: Annotated[
        Path | None, typer.Argument(help="Folder or archive of MovieLens-100K; else the cache or a download.")
    ] = None,
    peers_python: Annotated[Path, typer.Option(help="Python of the environment that holds the peers.")] = Path(
        ".venv-bench/bin/python"
    ),
    systems: Annotated[list[System] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    output: Annotated[Path, typer.Option(help="JSON file to write.")] = FOLDER / "peers.json",
    threads: Annotated[int, typer.Option(min=1, help="Of every system.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at once, each with its threads.")] = 2,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of every system.")] = 42,
    quick: Annotated[bool, typer.Option("--quick", help="One setting, two epochs: proves that it runs.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what is trained of the peers.")] = False,
) -> None:
    """Train every system and report what it took."""
    chosen = list(systems or System)
    with report_errors():
        _check_python(peers_python, chosen)
        machine, started = describe_machine(threads), _now()
        dataset, measured, text = _run(data, chosen, peers_python.absolute(), threads, jobs, seed, quick, resume)
        comparisons = compare_all(measured)
        PlainConsole().print(tabulate_quality(measured), tabulate_cost(measured), tabulate_comparisons(comparisons))
        report = {
            "started": started,
            "finished": _now(),
            "quick": quick,
            "resumed": resume,
            "seeds": [seed],
            "trainings_at_once": jobs,
            "machine": machine | {"load_at_end": round(os.getloadavg()[0], 2)},
            "text": text,
        }
        output.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(output, json.dumps(report | build_report(dataset, measured, comparisons), indent=1) + "\n")
        PlainConsole().print(f"report: {output}")


def _run(
    source: Path | None,
    systems: list[System],
    python: Path,
    threads: int,
    jobs: int,
    seed: int,
    quick: bool,
    resume: bool,
) -> tuple[Sequences, list[Measured], dict[str, float]]:
    folder = FOLDER.resolve()
    sequences, split_file = folder / "sequences", folder / "split.npz"
    dataset, split = prepare_data(source, sequences)
    split.save(split_file)
    text = {"seconds": 0.0, "peak_memory_mb": 0.0}
    if System.FOUR_STAGES in systems:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # of the process that encodes
        text = dict(zip(text, measure(prepare_text, sequences), strict=True))
    ours = list_our_jobs(systems, sequences, sequences.with_name(EMBEDDINGS), seed, quick)
    peers = list(list_peer_jobs(systems, python, seed, quick))

    def run(job: Job) -> Measured:
        run = run_job(job, split_file, folder / job.name, threads, resume and job in peers)
        return Measured(job, run, summarize(run))

    with ThreadPoolExecutor(jobs) as pool:
        measured = list(pool.map(run, [*ours, *peers]))
    return dataset, measured, text


def _check_python(path: Path, systems: list[System]) -> None:
    if not path.is_file() and set(systems) - set(OURS):
        raise BenchmarkError(f"--peers-python {path}: no such file; `make bench` makes the environment")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    typer.run(main)
