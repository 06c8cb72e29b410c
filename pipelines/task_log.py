"""What each task of a local run is doing, read from the lines that `kfp.local` and the tasks print."""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from pipelines.outputs import load_with_outputs

KEPT_LINES = 500
TASK_INDENT = "    "
"""`kfp.local` indents what a task prints, and nothing else that is matched here."""

COLOR = re.compile(r"\x1b\[[0-9;]*m")
EXECUTING = re.compile(r"[\d:.]+ - INFO - Executing task '(?P<component>[^']+)'")
FINISHED = re.compile(r"[\d:.]+ - \w+ - Task '(?P<component>[^']+)' finished with status (?P<status>SUCCESS|FAILURE)")
CACHE_HIT = re.compile(r"Task (?P<task>\S+) cache hit ")
PROGRESS = re.compile(r"progress \S+ (?P<values>\{.*\})$")
EXECUTOR_LINE = re.compile(r"\[KFP Executor [^]]*\]:")
OWN_ERROR = re.compile(r"ur4rec(?:\.\w+)+Error: ")
ERROR = re.compile(r"(?:\w+\.)*(?P<kind>\w*(?:Error|Exception|Interrupt|Exit))(?P<message>: .*)?$")


class Status(StrEnum):
    """Where a task is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    CACHED = "cached"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELED = "canceled"


@dataclass(frozen=True)
class TaskError:
    """What ended a task."""

    text: str
    says_all: bool
    """It is one of the library's own errors, whose one line names the cause and the way out."""


@dataclass
class Task:
    """One task of the pipeline."""

    name: str
    component: str
    title: str
    outputs: tuple[str, ...] = ()
    """Outputs of the pipeline that this task makes."""
    status: Status = Status.WAITING
    started: float = 0.0
    seconds: float | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    """The newest numbers that the task reported."""
    log: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))

    def find_error(self) -> TaskError | None:
        """The last exception in the log; its text includes the continuation lines."""
        lines = [line for line in self.log if not EXECUTOR_LINE.match(line)]
        for position in range(len(lines) - 1, -1, -1):
            match = ERROR.match(lines[position])
            if match:
                rest = [line.strip() for line in lines[position + 1 :] if line.strip()]
                text = "\n".join([f"{match['kind']}{match['message'] or ''}", *rest])
                return TaskError(text, says_all=bool(OWN_ERROR.match(lines[position])) and not rest)
        return None


def read_tasks(pipeline: Path) -> list[Task]:
    """The tasks of a compiled pipeline, each after those it waits for."""
    return list_tasks(load_with_outputs(pipeline)[0])


def list_tasks(spec: Mapping[str, Any]) -> list[Task]:
    """The same for a compiled pipeline that has been read."""
    dag = spec["root"]["dag"]
    makers = _find_makers(dag, spec.get("components", {}))
    return [
        Task(
            name=name,
            component=task["componentRef"]["name"].removeprefix("comp-"),
            title=task["taskInfo"]["name"],
            outputs=tuple(output for output, maker in makers.items() if maker == name),
        )
        for name, task in _walk_tasks(dag, spec.get("components", {}))
    ]


def _find_makers(dag: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, str]:
    """Output of a pipeline → the task that makes it, however deep in groups."""
    makers = {}
    for output, selection in dag.get("outputs", {}).get("artifacts", {}).items():
        (selector,) = selection["artifactSelectors"]
        maker, key = selector["producerSubtask"], selector["outputArtifactKey"]
        inner = components.get(dag["tasks"][maker]["componentRef"]["name"], {}).get("dag")
        makers[output] = _find_makers(inner, components)[key] if inner else maker
    return makers


def _walk_tasks(dag: Mapping[str, Any], components: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Tasks in order; those of a loop in the loop's place, once, however often they will run."""
    for name in _sort(dag["tasks"]):
        task = dag["tasks"][name]
        inner = components.get(task["componentRef"]["name"], {}).get("dag")
        if inner is None:
            yield name, task
        else:
            yield from _walk_tasks(inner, components)


def _sort(tasks: dict[str, Any]) -> list[str]:
    sorter = TopologicalSorter({name: task.get("dependentTasks", []) for name, task in tasks.items()})
    sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return order


class TaskLog:
    """Follows a run line by line.

    Args:
        tasks: The tasks, which are updated in place.
        clock: Seconds; another one for tests.
    """

    def __init__(self, tasks: list[Task], clock: Callable[[], float] = time.monotonic) -> None:
        self.tasks = tasks
        self._clock = clock
        self._running: Task | None = None

    def read(self, line: str) -> Task | None:
        """Takes the next line; returns the task whose status or progress it changed, if any."""
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
