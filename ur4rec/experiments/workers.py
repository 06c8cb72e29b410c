"""Processes that train side by side; one that dies takes its own task with it and nothing else."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Generic, TypeVar

import torch

from ur4rec.storage.writing import WriteError

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """Why a task has no result."""

    error: str
    """One line: the exception's class and message."""
    traceback: str = ""


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection


class Workers(Generic[Task, Result]):
    """Up to `jobs` spawned processes, each with its share of the threads that torch has here.

    The function that they run on a task is a module's own; its argument and result can be sent to a process.
    """

    def __init__(self, function: Callable[[Task], Result], jobs: int) -> None:
        self._function, self._jobs = function, jobs
        self._threads = max(1, torch.get_num_threads() // jobs)
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, Task]] = {}

    @property
    def has_room(self) -> bool:
        """Whether another task could start at once."""
        return len(self._busy) < self._jobs

    @property
    def is_busy(self) -> bool:
        """Whether a task runs."""
        return bool(self._busy)

    def submit(self, task: Task) -> None:
        """Starts a task; there must be room."""
        assert self.has_room
        worker = self._take_idle() or self._spawn()
        with suppress(BrokenPipeError):  # it has just died, which `wait` tells
            worker.connection.send((self._function, task))
        self._busy[worker.connection] = worker, task

    def wait(self) -> tuple[Task, Result | Failure]:
        """The next task that ends; one must be running.

        Raises:
            WriteError: The disk is full, say, so that no other task would fare better.
        """
        ready = connection.wait(list(self._busy))[0]
        assert isinstance(ready, Connection)
        worker, task = self._busy.pop(ready)
        try:
            outcome: Result | Failure | WriteError = ready.recv()
        except (EOFError, ConnectionResetError):  # the latter where it ended before it had read its task
            worker.process.join()
            worker.connection.close()
            return task, Failure(_explain_end(worker.process.exitcode))
        self._idle.append(worker)
        if isinstance(outcome, WriteError):
            raise outcome
        return task, outcome

    def close(self) -> None:
        """Ends every process, also those at work."""
        for worker in [*self._idle, *(worker for worker, _ in self._busy.values())]:
            worker.process.kill()
            worker.process.join()
            worker.connection.close()
        self._idle, self._busy = [], {}

    def _take_idle(self) -> _Worker | None:
        while self._idle:
            worker = self._idle.pop()
            if worker.process.is_alive():
                return worker
            worker.connection.close()
        return None

    def _spawn(self) -> _Worker:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._threads), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)


@contextmanager
def open_workers(function: Callable[[Task], Result], jobs: int) -> Iterator[Workers[Task, Result]]:
    """Workers whose processes end with the block, however it ends."""
    workers = Workers(function, jobs)
    try:
        yield workers
    finally:
        workers.close()


def run_all(
    function: Callable[[Task], Result], tasks: Sequence[Task], jobs: int
) -> Iterator[tuple[Task, Result | Failure]]:
    """Runs every task, begun in the given order; yields each as it ends."""
    waiting = deque(tasks)
    with open_workers(function, jobs) as workers:
        while waiting or workers.is_busy:
            while waiting and workers.has_room:
                workers.submit(waiting.popleft())
            yield workers.wait()


def _serve(tasks: Connection, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    threading.Thread(target=_follow_parent, daemon=True).start()
    torch.set_num_threads(threads)
    while True:
        try:
            function, task = tasks.recv()
        except EOFError:
            return
        try:
            outcome = function(task)
        except WriteError as error:
            outcome = error
        except Exception as error:
            message = " ".join(f"{type(error).__name__}: {error}".split())
            outcome = Failure(message, traceback.format_exc())
        tasks.send(outcome)


def _explain_end(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "its process was killed, most likely for lack of memory; lower --jobs, batch_size or max_seq_len"
    return f"its process ended with exit code {code}; the end of its log may say why"


def _follow_parent() -> None:
    """Ends this process with its parent, even when that was killed."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
