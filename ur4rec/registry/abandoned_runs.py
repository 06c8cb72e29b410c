"""Runs in MLflow that nobody will end: the process that made them was killed."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

OWNER = "ur4rec.process"
"""Tag of a run: the machine, the process and when that began."""
LONGEST_S = 24 * 3600
"""No registration takes longer: an older run of a machine that cannot be asked has no process any more."""


def name_process() -> str:
    """This process, by a name that no other has had."""
    return f"{_name_machine()} {os.getpid()} {_find_beginning(os.getpid())}"


def end_abandoned_runs(client: MlflowClient, experiment_name: str) -> None:
    """Ends as KILLED the runs that killed registrations have left, and as FAILED the models they were uploading.

    Runs of processes that still run stay, and so do those that something else has made.
    """
    experiment = client.get_experiment_by_name(experiment_name)
    if experiment is None:
        return
    for run in client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'"):
        if _is_abandoned(run):
            for model in client.search_logged_models([experiment.experiment_id]):
                if model.source_run_id == run.info.run_id and model.status == "PENDING":
                    client.finalize_logged_model(model.model_id, "FAILED")
            client.set_terminated(run.info.run_id, "KILLED")


def _is_abandoned(run: Run) -> bool:
    owner = run.data.tags.get(OWNER)
    if owner is None:
        return False
    machine, process, beginning = owner.split(" ")
    if machine == _name_machine():
        return _find_beginning(int(process)) != beginning
    return bool(time.time() - run.info.start_time / 1000 > LONGEST_S)


def _name_machine() -> str:
    """Processes are numbered anew in every container."""
    numbering = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{numbering.readlink() if numbering.is_symlink() else ''}"


def _find_beginning(process: int) -> str:
    """When a process began, in ticks since the machine did (field 22 of its `stat`); empty where it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _answers(process)
    return "" if fields[0] == "Z" else fields[19]


def _answers(process: int) -> str:
    """Where there is no `/proc`: that a process of this number runs."""
    if Path("/proc/self/stat").exists():
        return ""
    try:
        os.kill(process, 0)
    except OSError:
        return ""
    return "runs"
