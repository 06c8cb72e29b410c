"""RecBole's and RecTools' SASRec beside our first stage and our four stages, on MovieLens-100K, in one run.

Every system gets the same leave-one-out split as arrays, trains in a process of its own with the same number of
threads, and returns its validation curve with clocks and its scores, which are ranked here. docs/benchmarks.md says
how to read the result. `python -m benchmarks.peers --peers-python .venv-bench/bin/python`; `--quick` proves in minutes
that it runs.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.peer_exchange import HORIZONS, Run, Split
from benchmarks.peer_report import (
    BenchmarkError,
    Figures,
    best_point,
    compare,
    describe_comparison,
    describe_curve,
    summarize,
    tabulate_comparisons,
    tabulate_systems,
)
from benchmarks.peer_settings import PEERS, Peer, Setting
from benchmarks.preprocess import measure
from ur4rec.config import SHIPPED, load_config
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.data.sources import fetch
from ur4rec.evaluation.provenance import describe_versions
from ur4rec.storage.artifacts import write_text_atomic
from ur4rec.text.config import EncodeConfig, TextConfig
from ur4rec.text.encode import encode_text
from ur4rec.text.generate import generate_text
from ur4rec.training.stage_names import STAGES

ROOT = Path(__file__).parents[1]
FOLDER = Path("outputs/bench/peers")
SHOWN_LINES = 20
CONSOLE = Console()


class System(StrEnum):
    """What can be measured."""

    STAGE_1 = "ur4rec-stage1"
    FOUR_STAGES = "ur4rec"
    RECBOLE = "recbole"
    RECTOOLS = "rectools"


OURS = {System.STAGE_1: 1, System.FOUR_STAGES: len(STAGES)}
"""Our systems and the number of stages that they train."""


@dataclass(frozen=True)
class Job:
    """One training."""

    system: System
    setting: Setting
    module: str
    python: Path
    values: dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """A job and what came of it."""

    job: Job
    run: Run
    figures: Figures


def prepare_text(sequences: Path) -> None:
    """Writes and encodes the texts that stages 2 to 4 read, beside the sequences."""
    config = load_config(SHIPPED)
    texts, embeddings = sequences.with_name("llm_text"), sequences.with_name("text_embeddings")
    generate_text(sequences, texts, config.narrow(TextConfig))
    encode_text(sequences, texts, embeddings, config.narrow(EncodeConfig), device="cpu")


def describe_split(data: Sequences) -> Split:
    """The arrays that every system gets."""
    seen = {horizon: data.histories(horizon) for horizon in ("validation", "test")}
    return Split(data.num_items, dict(seen), dict(zip(HORIZONS, (data.val, data.test), strict=True)))


def list_jobs(systems: list[System], peers_python: Path, sequences: Path, seed: int, quick: bool) -> Iterator[Job]:
    """Ours first; a peer once for each of its settings."""
    overrides = {"seed": seed} | ({"epochs_per_stage": 2} if quick else {})
    shared = {"config": str(SHIPPED), "sequences": str(sequences), "overrides": overrides}
    for system, stages in OURS.items():
        values = shared | {"embeddings": str(sequences.with_name("text_embeddings")), "stages": stages}
        setting = Setting("shipped", f"ur4rec/configs/{SHIPPED.name}", {"stages": stages, **overrides})
        if system in systems:
            yield Job(system, setting, "benchmarks.peer_ours", Path(os.sys.executable), values)
    for peer in PEERS:
        for setting in peer.settings[: 1 if quick else None]:
            if System(peer.name) in systems:
                values = _join(peer, setting, quick) | {"seed": seed}
                yield Job(System(peer.name), setting, peer.module, peers_python, values)


def _join(peer: Peer, setting: Setting, quick: bool) -> dict[str, Any]:
    return peer.shared | setting.values | (peer.quick if quick else {})


def run_job(job: Job, split: Path, folder: Path, threads: int) -> Run:
    """Trains in a process of its own.

    Args:
        job: What to train.
        split: File of the split.
        folder: Gets `run.npz`, `log.txt` and whatever the system writes.
        threads: Of the process.

    Raises:
        BenchmarkError: The process failed; shows the end of its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    result, log = folder / "run.npz", folder / "log.txt"
    result.unlink(missing_ok=True)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    environment = (
        os.environ | dict.fromkeys(names, str(threads)) | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    )
    command = [str(job.python), "-m", job.module, str(split), str(result), json.dumps(job.values)]
    with (
        log.open("w", encoding="utf-8") as file,
        CONSOLE.status(f"{job.system}, {job.setting.name}") as status,
        subprocess.Popen(
            command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            if ": epoch " in line:
                status.update(f"{job.system}, {job.setting.name}: {line.split(': ', 1)[1].strip()}")
    if process.returncode or not result.is_file():
        tail = "\n".join(log.read_text(encoding="utf-8").splitlines()[-SHOWN_LINES:])
        raise BenchmarkError(f"{job.system}, {job.setting.name}: exit code {process.returncode}; see {log}\n{tail}")
    return Run.load(result)


def describe_machine(threads: int) -> dict[str, Any]:
    """What the times were taken on."""
    return {
        "processor": _read_processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "platform": platform.platform(terse=True),
        "python": platform.python_version(),
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def _read_processor() -> str:
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return platform.processor() or "unknown"


def choose_best(measured: list[Measured]) -> dict[System, Measured]:
    """System → its run with the best validation score."""
    best: dict[System, Measured] = {}
    for one in measured:
        system = one.job.system
        if system not in best or best_point(one.run).ndcg > best_point(best[system].run).ndcg:
            best[system] = one
    return best


def describe_job(one: Measured) -> dict[str, Any]:
    """Setting and figures, for the JSON file."""
    setting = {"setting": one.job.setting.name, "source": one.job.setting.source}
    return setting | {"parameters": one.job.values} | asdict(one.figures)


def main(
    data: Annotated[
        Path | None, typer.Argument(help="Folder or archive of MovieLens-100K; else cache, official site, wheel.")
    ] = None,
    peers_python: Annotated[Path, typer.Option(help="Python of the environment with the peers.")] = Path(
        ".venv-bench/bin/python"
    ),
    systems: Annotated[list[System] | None, typer.Option(help="Only these; may be repeated.")] = None,
    output: Annotated[Path, typer.Option(help="JSON file to write.")] = FOLDER / "peers.json",
    threads: Annotated[int, typer.Option(min=1, help="Of every system.")] = 2,
    seed: Annotated[int, typer.Option(help="Of every system.")] = 42,
    quick: Annotated[bool, typer.Option("--quick", help="One setting, two epochs: proves that it runs.")] = False,
) -> None:
    """Trains every system and reports what it took."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # of the text encoder, in a process of its own
    folder = FOLDER.resolve()
    chosen = list(systems or System)
    machine, started = describe_machine(threads), datetime.now(UTC)
    sequences = folder / "sequences"
    preprocess_sequences(fetch("ml-100k", data), sequences, load_config(SHIPPED).narrow(DataConfig))
    dataset = load_sequences(sequences)
    split = describe_split(dataset)
    split.save(folder / "split.npz")
    text = dict.fromkeys(("seconds", "peak_memory_mb"), 0.0)
    if System.FOUR_STAGES in chosen:
        text = dict(zip(text, measure(prepare_text, sequences), strict=True))
    measured = []
    for job in list_jobs(chosen, peers_python.absolute(), sequences, seed, quick):
        name = f"{job.system} {job.setting.name}".replace(",", "").replace(" ", "-")
        run = run_job(job, folder / "split.npz", folder / name, threads)
        measured.append(Measured(job, run, summarize(run, split)))
    best = choose_best(measured)
    comparisons = [
        compare(ours, best[ours].run, peer, best[peer].run)
        for ours in OURS
        for peer in best
        if ours in best
        if peer not in OURS
    ]
    CONSOLE.print(tabulate_systems((one.job.system, one.job.setting.name, one.figures) for one in measured))
    CONSOLE.print(tabulate_comparisons(comparisons))
    report = {
        "started": started.isoformat(timespec="seconds"),
        "quick": quick,
        "machine": machine | {"load_at_end": round(os.getloadavg()[0], 2)},
        "versions": describe_versions(),
        "dataset": {
            "name": dataset.name,
            "digest": dataset.digest,
            "num_users": dataset.num_users,
            "num_items": dataset.num_items,
            "num_interactions": dataset.num_interactions,
        },
        "protocol": "leave-one-out; whole catalogue; seen items excluded; expected rank of ties",
        "seeds": [seed],
        "text": text,
        "systems": {
            system: describe_job(one)
            | {
                "versions": one.run.versions,
                "curve": describe_curve(one.run),
                "settings": [describe_job(other) for other in measured if other.job.system == system],
            }
            for system, one in best.items()
        },
        "comparisons": [describe_comparison(comparison) for comparison in comparisons],
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomic(output, json.dumps(report, indent=1) + "\n")
    CONSOLE.print(f"report: {output}")


if __name__ == "__main__":
    typer.run(main)
