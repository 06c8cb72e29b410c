"""What each task of a local run is doing, read from the lines that `kfp.local` and the tasks print."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

from pipelines.tasks import Status, Task

TASK_INDENT = "    "
"""`kfp.local` indents what a task prints, and nothing else that is matched here."""

COLOR = re.compile(r"\x1b\[[0-9;]*m")
EXECUTING = re.compile(r"[\d:.]+ - INFO - Executing task '(?P<component>[^']+)'")
FINISHED = re.compile(r"[\d:.]+ - \w+ - Task '(?P<component>[^']+)' finished with status (?P<status>SUCCESS|FAILURE)")
CACHE_HIT = re.compile(r"Task (?P<task>\S+) cache hit ")
PROGRESS = re.compile(r"progress \S+ (?P<values>\{.*\})$")


class TaskLog:
    """Follows a run line by line, and updates its tasks in place."""

    def __init__(self, tasks: list[Task], clock: Callable[[], float] = time.monotonic) -> None:
        self.tasks = tasks
        self._clock = clock
        self._running: Task | None = None

    def read(self, line: str) -> Task | None:
        """Take the next line; return the task whose status or progress it changed, if any."""
        line = COLOR.sub("", line.rstrip("\n"))
        if line.startswith(TASK_INDENT):
            return self._read_task_line(line.removeprefix(TASK_INDENT))
        if match := EXECUTING.match(line):
            return self._start(match["component"])
        if match := FINISHED.match(line):
            return self._finish(match["component"], match["status"] == "SUCCESS")
        if match := CACHE_HIT.match(line):
            return self._find_cached(match["task"])
        return None

    def _read_task_line(self, line: str) -> Task | None:
        if self._running is None:
            return None
        match = PROGRESS.match(line)
        if match is None:
            self._running.log.append(line)
            return None
        try:
            self._running.progress = json.loads(match["values"])
        except json.JSONDecodeError:
            return None  # half a line, from a task that was stopped
        return self._running

    def _start(self, component: str) -> Task | None:
        task = self._find(component, Status.WAITING) or self._find(component, Status.DONE)  # again, in a loop
        if task is not None:
            task.status, task.started = Status.RUNNING, self._clock()
            self._running = task
        return task

    def _finish(self, component: str, succeeded: bool) -> Task | None:
        task = self._find(component, Status.RUNNING)
        if task is not None:
            task.status = Status.DONE if succeeded else Status.FAILED
            task.seconds = self._clock() - task.started
            self._running = None
        return task

    def _find_cached(self, name: str) -> Task | None:
        task = next((task for task in self.tasks if task.name == name), None)
        if task is not None:
            task.status = Status.CACHED
        return task

    def _find(self, component: str, status: Status) -> Task | None:
        found = (task for task in self.tasks if task.component == component and task.status is status)
        return next(found, None)
