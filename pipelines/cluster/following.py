"""Waits for the end of a run and shows what its tasks do; a server that restarts meanwhile is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from pipelines.cluster.connection import Cluster
from pipelines.cluster.failures import UnavailableError
from pipelines.cluster.run_status import RunReader, RunStatus
from pipelines.task_log import Status
from pipelines.views import open_view
from ur4rec.terminal import PlainConsole

Answer = TypeVar("Answer")

POLL_S = 5.0
PATIENCE_S = 600.0
"""For which a server may be away."""


def follow(cluster: Cluster, run_id: str, console: PlainConsole) -> RunStatus:
    """Asks until the run has ended, whichever way; kfp's own waiting does not know CANCELED.

    Args:
        cluster: The server.
        run_id: The run.
        console: Where to show the tasks.

    Raises:
        ClusterError: The server does not know the run, refuses, or stays away for too long.
    """
    reader = _insist(lambda: RunReader(cluster, run_id), console)
    with open_view(console, reader.status.tasks, cluster.run_url(run_id)) as view:
        for task in reader.status.tasks:
            if task.status is not Status.WAITING:
                view.update(task)
        while not reader.status.is_final:
            pause(POLL_S)
            for task in _insist(reader.refresh, console):
                view.update(task)
    return reader.status


def pause(seconds: float) -> None:
    """Between two questions."""
    time.sleep(seconds)


def _insist(ask: Callable[[], Answer], console: PlainConsole) -> Answer:
    """The answer to a question, however often it is asked.

    Raises:
        ClusterError: The server refuses, or stays away for too long.
    """
    deadline = time.monotonic() + PATIENCE_S
    told = False
    while True:
        try:
            answer = ask()
        except UnavailableError as error:
            if time.monotonic() >= deadline:
                raise
            if not told:
                _say(console, f"the server is away; asking again for up to {PATIENCE_S / 60:g} min ({error})")
            told = True
            pause(POLL_S)
            continue
        if told:
            _say(console, "the server answers again")
        return answer


def _say(console: PlainConsole, line: str) -> None:
    console.tell((line, "dim"))
