"""The tasks of a compiled pipeline, and names for what they leave behind.

kfp lets no pipeline whose tasks are in an exit handler have outputs. A cluster needs none; a run on this machine does.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from ur4rec.training.stage_names import STAGES

KEPT_LINES = 500
EXECUTOR_LINE = re.compile(r"\[KFP Executor [^]]*\]:")
OWN_ERROR = re.compile(r"ur4rec(?:\.\w+)+Error: ")
ERROR = re.compile(r"(?:\w+\.)*(?P<kind>\w*(?:Error|Exception|Interrupt|Exit))(?P<message>: .*)?$")
OUTPUTS = {
    "sequences": ("preprocess-sequences", "sequences"),
    "texts": ("generate-text", "texts"),
    "embeddings": ("encode-text", "embeddings"),
    **{stage: (stage.replace("_", "-"), "checkpoint") for stage in STAGES},
    **{f"{stage}_memories": (stage.replace("_", "-"), "memories") for stage in STAGES},
    "results": ("evaluate", "results"),
    "report": ("evaluate", "report"),
    "registration": ("register-model", "registration"),
    "decision": ("gate-model", "decision"),
    "promotion": ("promote-model", "promotion"),
}
"""Name → task and the name of its output."""

Spec = dict[str, Any]

INTERPRETER = "python3"
"""What a task that is a process calls."""


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
        """Return the last exception in the log; its text includes the continuation lines."""
        lines = [line for line in self.log if not EXECUTOR_LINE.match(line)]
        for position in range(len(lines) - 1, -1, -1):
            match = ERROR.match(lines[position])
            if match:
                rest = [line.strip() for line in lines[position + 1 :] if line.strip()]
                text = "\n".join([f"{match['kind']}{match['message'] or ''}", *rest])
                return TaskError(text, says_all=bool(OWN_ERROR.match(lines[position])) and not rest)
        return None


def read_tasks(pipeline: Path) -> list[Task]:
    """Return the tasks of a compiled pipeline, each after those it waits for."""
    return list_tasks(load_with_outputs(pipeline)[0])


def list_tasks(spec: Mapping[str, Any]) -> list[Task]:
    """Return the same for a compiled pipeline that has been read."""
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
    """Return output of a pipeline → the task that makes it, however deep in groups."""
    makers = {}
    for output, selection in dag.get("outputs", {}).get("artifacts", {}).items():
        (selector,) = selection["artifactSelectors"]
        maker, key = selector["producerSubtask"], selector["outputArtifactKey"]
        inner = components.get(dag["tasks"][maker]["componentRef"]["name"], {}).get("dag")
        makers[output] = _find_makers(inner, components)[key] if inner else maker
    return makers


def _walk_tasks(dag: Mapping[str, Any], components: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield tasks in order; those of a loop in the loop's place, once, however often they will run."""
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


def load_with_outputs(pipeline: Path) -> list[Spec]:
    """Return the documents of a compiled pipeline; those artifacts that have a name are outputs of it."""
    documents = list(yaml.safe_load_all(pipeline.read_text(encoding="utf-8")))
    components = documents[0].get("components", {})
    for name, group in list_groups(documents[0]):
        inner = components[group["componentRef"]["name"]]
        for output, (task, key) in OUTPUTS.items():
            if task in inner["dag"]["tasks"]:
                kind = components[f"comp-{task}"]["outputDefinitions"]["artifacts"][key]
                _expose(inner, output, task, key, kind)
                _expose(documents[0]["root"], output, name, output, kind)
    return documents


def list_groups(spec: Spec) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the tasks of the pipeline that are groups of tasks: its exit handler."""
    for name, task in spec["root"]["dag"]["tasks"].items():
        if "dag" in spec.get("components", {}).get(task["componentRef"]["name"], {}):
            yield name, task


def _expose(component: Spec, output: str, task: str, key: str, kind: Mapping[str, Any]) -> None:
    """Make an artifact of a task an output of the component that the task is in."""
    component.setdefault("outputDefinitions", {}).setdefault("artifacts", {})[output] = dict(kind)
    selector = {"outputArtifactKey": key, "producerSubtask": task}
    component["dag"].setdefault("outputs", {}).setdefault("artifacts", {})[output] = {"artifactSelectors": [selector]}
