"""Trainings of a benchmark, each in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from benchmarks.peer_exchange import Run
from benchmarks.peer_settings import PEERS, Setting
from ur4rec.config import SHIPPED
from ur4rec.storage.artifacts import sha256_file, write_text_atomic
from ur4rec.terminal import PlainConsole
from ur4rec.training.stage_names import STAGES

ROOT = Path(__file__).parents[1]
SHOWN_LINES = 20
PROGRESS = ": epoch "
FORMAT = 2
"""Of `run.npz`."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
KEEP_FREED_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
"""Of glibc, for every system: page faults, dear on a virtual machine, else add a half to RecBole's large batches."""
QUICK_OVERRIDES = {"epochs_per_stage": 2}


class BenchmarkError(ValueError):
    """A benchmark that cannot be run or whose runs contradict themselves."""


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

    system: str
    setting: Setting
    module: str
    python: Path
    values: dict[str, Any]
    """What shapes the result."""
    inputs: dict[str, str] = field(default_factory=dict)
    """Paths that the module reads as well, and limits."""

    @property
    def name(self) -> str:
        """For people and for a folder."""
        return f"{self.system}-{self.setting.name}".replace(",", "").replace(" ", "-")


def list_our_jobs(systems: Collection[System], sequences: Path, embeddings: Path, seed: int, quick: bool) -> list[Job]:
    """The shipped configuration, with one stage and with all."""
    overrides = {"seed": seed} | (QUICK_OVERRIDES if quick else {})
    inputs = {"sequences": str(sequences), "embeddings": str(embeddings), "config": str(SHIPPED)}
    setting = Setting("shipped", f"ur4rec/configs/{SHIPPED.name}")
    return [
        Job(system, setting, "benchmarks.peer_ours", Path(sys.executable), overrides | {"stages": stages}, inputs)
        for system, stages in OURS.items()
        if system in systems
    ]


def list_peer_jobs(systems: Collection[System], python: Path, seed: int, quick: bool) -> Iterator[Job]:
    """Each peer once with each of its settings; a quick run takes the first one."""
    for peer in PEERS:
        for setting in peer.settings[: 1 if quick else None]:
            values = peer.shared | setting.values | {"seed": seed} | (peer.quick if quick else {})
            if peer.name in systems:
                yield Job(System(peer.name), setting, peer.module, python, values)


def run_job(
    job: Job, split: Path, folder: Path, threads: int, resume: bool = False, tell: Callable[[str], None] | None = None
) -> Run:
    """Trains in a process of its own.

    Args:
        job: What to train.
        split: File of the split.
        folder: Gets `run.npz`, `log.txt`, `job.json` and whatever the system writes.
        threads: Of the process.
        resume: Whether a finished run of the same job is taken as it is, and one that was cut short gets its folder
            back; without it the folder is emptied.
        tell: Gets the newest line of progress; the terminal by default.

    Raises:
        BenchmarkError: The process failed; shows the end of its log.
    """
    result, note = folder / "run.npz", folder / "job.json"
    identity = identify(job, split, threads)
    if not (resume and note.is_file() and note.read_text(encoding="utf-8") == identity):
        shutil.rmtree(folder, ignore_errors=True)
    elif result.is_file():
        return Run.load(result)
    folder.mkdir(parents=True, exist_ok=True)
    write_text_atomic(note, identity)
    command = [str(job.python), "-m", job.module, str(split), str(result), json.dumps(job.values | job.inputs)]
    with _show_status(job.name) if tell is None else nullcontext(tell) as told:
        code = _follow(command, folder, threads, told)
    if code:
        tail = "\n".join((folder / "log.txt").read_text(encoding="utf-8").splitlines()[-SHOWN_LINES:])
        raise BenchmarkError(f"{job.name}: exit code {code}; the end of {folder / 'log.txt'}:\n{tail}")
    return Run.load(result)


def identify(job: Job, split: Path, threads: int) -> str:
    """All that the result of a job depends on, as text."""
    facts = {"module": job.module, "values": job.values, "threads": threads, "split": sha256_file(split)}
    return json.dumps(facts | {"format": FORMAT}, indent=1)


@contextmanager
def _show_status(name: str) -> Iterator[Callable[[str], None]]:
    with PlainConsole().status(name) as status:
        yield lambda line: status.update(f"{name}: {line}")


def _follow(command: list[str], folder: Path, threads: int, tell: Callable[[str], None]) -> int:
    """Runs a command in a folder, its output in `log.txt`, and tells its newest epoch; returns the exit code."""
    variables = dict.fromkeys(THREAD_VARIABLES, str(threads)) | KEEP_FREED_MEMORY
    variables |= {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    with (
        (folder / "log.txt").open("a", encoding="utf-8") as log,
        subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | variables,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            log.flush()
            if PROGRESS in line:
                tell(line.strip())
    return process.returncode
