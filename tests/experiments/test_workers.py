import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ur4rec.experiments import workers as workers_module
from ur4rec.experiments.workers import Failure, open_workers, run_all

PARENT = """
import multiprocessing, time
from ur4rec.experiments.workers import Workers
if __name__ == "__main__":
    workers = Workers(time.sleep, 1)
    workers.submit(600)
    print(multiprocessing.active_children()[0].pid, flush=True)
    workers.wait()
"""


def test_results_and_errors_come_back_with_their_tasks() -> None:
    outcomes = dict(run_all(math.sqrt, [4.0, -1.0, 9.0], jobs=1))
    failure = outcomes.pop(-1.0)
    assert outcomes == {4.0: 2.0, 9.0: 3.0}
    assert isinstance(failure, Failure)
    assert failure.error.startswith("ValueError: ")
    assert "Traceback" in failure.traceback


def test_a_process_that_dies_takes_only_its_own_task_along() -> None:
    outcomes = list(run_all(os._exit, [3, 4], jobs=2))
    assert {task for task, _ in outcomes} == {3, 4}
    for task, failure in outcomes:
        assert isinstance(failure, Failure)
        assert f"exit code {task}" in failure.error


def test_a_process_that_dies_between_two_tasks_is_replaced() -> None:
    with open_workers(math.sqrt, 1) as workers:
        workers.submit(4.0)
        assert workers.wait() == (4.0, 2.0)
        (child,) = multiprocessing.active_children()
        child.kill()
        child.join()
        workers.submit(9.0)
        assert workers.wait() == (9.0, 3.0)


def test_a_process_that_dies_before_it_has_read_its_task_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "_serve", end_at_once)
    ((task, failure),) = run_all(math.sqrt, [4.0], jobs=1)
    assert task == 4.0
    assert isinstance(failure, Failure)
    assert "exit code 5" in failure.error


def end_at_once(tasks: object, threads: int) -> None:
    os._exit(5)


def test_no_process_is_started_for_nothing() -> None:
    assert list(run_all(math.sqrt, [], jobs=2)) == []


def test_a_worker_ends_with_its_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    with subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    for _ in range(600):
        if not _is_alive(worker):
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    raise AssertionError("the worker outlived its parent by a minute")


def _is_alive(pid: int) -> bool:
    """A zombie, which nobody may be there to collect, has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(status.stdout) and not status.stdout.startswith("Z")
