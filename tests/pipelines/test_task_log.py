from __future__ import annotations

import pytest

from pipelines.task_log import TaskLog
from pipelines.tasks import Status, Task

START = "06:40:29.704 - INFO - Executing task \x1b[96m'comp-one'\x1b[0m\n"
SUCCESS = "06:40:29.833 - INFO - Task \x1b[96m'comp-one'\x1b[0m finished with status \x1b[92mSUCCESS\x1b[0m\n"
FAILURE = "06:40:29.833 - ERROR - Task \x1b[96m'comp-one'\x1b[0m finished with status \x1b[91mFAILURE\x1b[0m\n"
CACHED = "Task two cache hit (key=66edb3e612a0); skipping execution.\n"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock) -> TaskLog:
    return TaskLog([Task("one", "comp-one", "One"), Task("two", "comp-two", "Two")], clock)


def test_follows_a_task_from_start_to_end(log: TaskLog, clock: Clock) -> None:
    one = log.tasks[0]
    assert log.read(START) is one
    assert (one.status, one.started) == (Status.RUNNING, 100.0)
    assert log.read('    progress pretrain_sasrec {"epoch": 1, "loss": 6.5}\n') is one
    assert one.progress == {"epoch": 1, "loss": 6.5}
    clock.now = 103.5
    assert log.read(SUCCESS) is one
    assert (one.status, one.seconds) == (Status.DONE, 3.5)


def test_sees_cached_and_failed_tasks(log: TaskLog) -> None:
    one, two = log.tasks
    assert log.read(CACHED) is two
    assert (two.status, two.seconds) == (Status.CACHED, None)
    log.read(START)
    log.read(FAILURE)
    assert one.status is Status.FAILED


def test_what_a_task_prints_changes_no_status(log: TaskLog) -> None:
    log.read(START)
    for line in (SUCCESS, CACHED, FAILURE):
        assert log.read("    " + line) is None
    assert [task.status for task in log.tasks] == [Status.RUNNING, Status.WAITING]
    assert len(log.tasks[0].log) == 3


def test_half_a_progress_line_is_left_out(log: TaskLog) -> None:
    log.read(START)
    assert log.read('    progress pretrain_sasrec {"epoch": 1, {}\n') is None
    assert log.tasks[0].progress == {}


def test_lines_of_nobody_are_left_out(log: TaskLog) -> None:
    assert log.read("    stray\n") is None
    assert log.read("06:40:29.704 - INFO - Executing task 'unknown'\n") is None
    assert [list(task.log) for task in log.tasks] == [[], []]


def test_tasks_of_the_same_component_are_told_apart() -> None:
    log = TaskLog([Task("a", "comp-one", "A"), Task("b", "comp-one", "B")], lambda: 0.0)
    for line in (START, SUCCESS, START):
        log.read(line)
    assert [task.status for task in log.tasks] == [Status.DONE, Status.RUNNING]


def test_a_task_in_a_loop_runs_again() -> None:
    log = TaskLog([Task("a", "comp-one", "A")], lambda: 0.0)
    seen = []
    for line in (START, SUCCESS, START, SUCCESS):
        log.read(line)
        seen.append(log.tasks[0].status)
    assert seen == [Status.RUNNING, Status.DONE] * 2
