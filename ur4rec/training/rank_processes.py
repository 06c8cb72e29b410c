"""Starts the other processes of a training on this machine, and ends them with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from ur4rec.training.ranks import ALONE, ConnectedRanks, LostRankError, Ranks

MODULE = "ur4rec.training.rank_worker"
TIMEOUT_S = 900.0
"""Longer than an upload of the state takes, for which the others wait."""
START_S = 900.0
"""Within this time every rank has loaded what it needs, on a busy machine too."""
POLL_S = 0.05
LOOPBACK = {"linux": "lo", "darwin": "lo0"}
"""Platform → the interface over which ranks of one machine reach each other."""


def count_processes(device: torch.device) -> int:
    """Returns one process for each GPU that this one sees; on a CPU one has all threads."""
    return max(1, torch.cuda.device_count()) if device.type == "cuda" else 1


@dataclass(frozen=True)
class Worker:
    """A process that trains and writes nothing."""

    rank: int
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    """What it has written to standard error."""

    def fault(self) -> str:
        """Returns how it has ended before its time; empty where it goes on."""
        code = self.process.poll()
        if code is None:
            return ""
        if code < 0:
            return f"was ended by signal {-code}"
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return f"failed: {lines[-1] if lines else f'exit code {code}'}"

    def end(self) -> None:
        """Ends it at once: it writes nothing."""
        self.process.kill()
        self.process.wait()


class LeadingRanks(ConnectedRanks):
    """The first rank, which has started the others."""

    def __init__(self, size: int, device: torch.device, timeout_s: float) -> None:
        super().__init__(0, size, 0, device, timeout_s)
        self.workers: list[Worker] = []

    def start(self) -> None:
        """Waits until all others have loaded what they need.

        Raises:
            LostRankError: One has ended, or does not come in time.
        """
        end_s = time.monotonic() + START_S
        for worker in self.workers:
            while not self.has_come(worker.rank):
                fault = worker.fault() or ("does not come" if time.monotonic() > end_s else "")
                if fault:
                    raise LostRankError(f"rank {worker.rank} of {self.size} {fault}")
                time.sleep(POLL_S)
        super().start()

    def explain_lost(self, error: RuntimeError) -> LostRankError:
        """Returns the error to raise: how a process has ended, if one has."""
        time.sleep(POLL_S)  # its sockets close before it has ended
        for worker in self.workers:
            if fault := worker.fault():
                return LostRankError(f"rank {worker.rank} of {self.size} {fault}")
        return super().explain_lost(error)


@contextmanager
def start_ranks(num_processes: int, device: torch.device, task: Mapping[str, Any]) -> Iterator[Ranks]:
    """Starts all processes but this one, which is the first rank; they share its threads.

    Args:
        num_processes: 1 starts none.
        device: Of this process; with GPUs each rank has one of its own.
        task: Arguments of `ur4rec.training.rank_worker.work`, plain values.

    Yields:
        The ranks; `start` waits for them.
    """
    if num_processes == 1:
        yield ALONE
        return
    threads = torch.get_num_threads()
    share = max(1, threads // num_processes)
    ranks = LeadingRanks(num_processes, device, TIMEOUT_S)
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, threads)
        torch.set_num_threads(share)
        stack.callback(ranks.stop)
        stack.enter_context(_on_loopback())
        for rank in range(1, num_processes):
            errors = stack.enter_context(tempfile.TemporaryFile())
            worker = _start(ranks, rank, share, task, errors)
            stack.callback(worker.end)
            ranks.workers.append(worker)
        yield ranks


def _start(ranks: ConnectedRanks, rank: int, threads: int, task: Mapping[str, Any], errors: IO[bytes]) -> Worker:
    meeting = {"rank": rank, "size": ranks.size, "port": ranks.port, "timeout_s": ranks.timeout_s}
    process = subprocess.Popen(  # noqa: S603  # our own module
        [sys.executable, "-P", "-m", MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        start_new_session=True,  # Ctrl-C is for the first rank, which ends the others
    )
    assert process.stdin is not None
    with process.stdin as stdin:
        stdin.write(json.dumps({"meeting": meeting, "task": _to_plain(task)}).encode())
    return Worker(rank, process, errors)


def _to_plain(task: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in task.items()}


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Lets gloo use the loopback interface: by itself it looks for the address of the machine's name."""
    name, interface = "GLOO_SOCKET_IFNAME", LOOPBACK.get(sys.platform)
    before = os.environ.get(name)
    if before is None and interface is not None:
        os.environ[name] = interface
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
