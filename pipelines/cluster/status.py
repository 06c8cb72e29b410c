"""What has become of a run and of each of its tasks, once or until its end; a server that restarts is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from kfp_server_api import V2beta1PipelineTaskDetail, V2beta1PipelineVersionReference, V2beta1Run

from pipelines.cluster.connection import as_known
from pipelines.cluster.failures import MissingError, UnavailableError
from pipelines.tasks import Status, Task, list_tasks
from pipelines.views import open_view
from ur4rec.terminal import PlainConsole

Answer = TypeVar("Answer")

SUCCEEDED = "SUCCEEDED"
FINAL = {SUCCEEDED, "FAILED", "SKIPPED", "CANCELED"}
"""States that a run does not leave."""
STATUSES = {
    SUCCEEDED: Status.DONE,
    "FAILED": Status.FAILED,
    "SKIPPED": Status.SKIPPED,
    "CANCELED": Status.CANCELED,
    "RUNNING": Status.RUNNING,
    "CANCELING": Status.RUNNING,
    "PAUSED": Status.RUNNING,
    "CACHED": Status.CACHED,
}
"""State of a task → what is shown; whatever else waits."""
PRECEDENCE = (
    Status.RUNNING,
    Status.FAILED,
    Status.CANCELED,
    Status.WAITING,
    Status.DONE,
    Status.CACHED,
    Status.SKIPPED,
)
"""What is shown of the several executions of a task in a loop: the first of these that any of them has."""
POLL_S = 5.0
PATIENCE_S = 600.0
"""How long a server may be away."""


class Server(Protocol):
    """Whatever has runs."""

    def read_run(self, run_id: str) -> V2beta1Run:
        """Ask for a run."""

    def read_version(self, reference: V2beta1PipelineVersionReference) -> Any:
        """Ask for the compiled pipeline of a run that does not hold it."""

    def stop_run(self, run_id: str) -> None:
        """Stop a run."""

    def run_url(self, run_id: str) -> str:
        """Return the address of the page of a run."""

    def write_log_command(self, run_id: str, node: str) -> str:
        """Return the command that prints the log of one execution."""

    def describe_logs(self, run_id: str) -> tuple[str, ...]:
        """Tell where the logs of a whole run are."""


@dataclass(frozen=True)
class TaskFailure:
    """A task that failed."""

    title: str
    message: str
    node: str
    """Name of its execution in Argo; the name of the pod ends as it does."""


@dataclass
class RunStatus:
    """A run, as of the last answer."""

    run_id: str
    name: str
    state: str
    tasks: list[Task]
    """The tasks of the pipeline, each after those it waits for."""
    message: str = ""
    failures: list[TaskFailure] = field(default_factory=list)
    nodes: dict[str, list[str]] = field(default_factory=dict)
    """Task → its executions in Argo."""

    @property
    def is_final(self) -> bool:
        """Whether the state will not change."""
        return self.state in FINAL


class RunReader:
    """Reads one run again and again; the tasks are read once and then updated in place.

    Raises:
        ClusterError: The id cannot be that of a run.
    """

    def __init__(self, server: Server, run_id: str) -> None:
        self._server = server
        run = server.read_run(run_id)
        self.status = RunStatus(run.run_id, run.display_name or run_id, "", _read_tasks(server, run))
        self._update(run)

    def refresh(self) -> list[Task]:
        """Ask again and return the tasks whose status has changed."""
        return self._update(self._server.read_run(self.status.run_id))

    def _update(self, run: V2beta1Run) -> list[Task]:
        details = (run.run_details.task_details if run.run_details else None) or []
        before = {task.name: task.status for task in self.status.tasks}
        by_name = _group(details)
        for task in self.status.tasks:
            _update_task(task, by_name.get(task.name, []))
        self.status.state = run.state or "PENDING"
        self.status.message = (run.error.message if run.error else "") or ""
        self.status.nodes = {task.name: _name_nodes(by_name.get(task.name, []), details) for task in self.status.tasks}
        self.status.failures = list(_find_failures(self.status.tasks, details))
        return [task for task in self.status.tasks if task.status is not before[task.name]]


def follow(server: Server, run_id: str, console: PlainConsole) -> RunStatus:
    """Ask until the run has ended, whichever way, and show its tasks; kfp's own waiting does not know CANCELED."""
    reader = _insist(lambda: RunReader(server, run_id), console)
    with open_view(console, reader.status.tasks, server.run_url(run_id)) as view:
        for task in reader.status.tasks:
            if task.status is not Status.WAITING:
                view.update(task)
        while not reader.status.is_final:
            pause(POLL_S)
            for task in _insist(reader.refresh, console):
                view.update(task)
    return reader.status


def pause(seconds: float) -> None:
    """Wait between two questions."""
    time.sleep(seconds)


def _read_tasks(server: Server, run: V2beta1Run) -> list[Task]:
    """Return the tasks of the compiled pipeline; none where its version is gone."""
    specification = run.pipeline_spec
    reference = run.pipeline_version_reference
    if specification is None and reference is not None and reference.pipeline_version_id:
        try:
            specification = server.read_version(reference)
        except MissingError:
            return []
    document: Mapping[str, Any] = specification or {}
    document = document.get("pipeline_spec", document)
    return list_tasks(document) if "root" in document else []


def _group(details: Iterable[V2beta1PipelineTaskDetail]) -> dict[str, list[V2beta1PipelineTaskDetail]]:
    grouped: dict[str, list[V2beta1PipelineTaskDetail]] = {}
    for detail in details:
        grouped.setdefault(detail.display_name or "", []).append(detail)
    return grouped


def _update_task(task: Task, executions: list[V2beta1PipelineTaskDetail]) -> None:
    if not executions:
        return
    statuses = {STATUSES.get(execution.state or "", Status.WAITING) for execution in executions}
    task.status = next(status for status in PRECEDENCE if status in statuses)
    starts = [start for execution in executions if (start := as_known(execution.start_time))]
    ends = [end for execution in executions if (end := as_known(execution.end_time))]
    now = datetime.now(UTC)
    if task.status is Status.RUNNING and starts:
        task.started = time.monotonic() - (now - min(starts)).total_seconds()
    elif starts and ends:
        task.seconds = max(0.0, (max(ends) - min(starts)).total_seconds())


def _name_nodes(executions: Iterable[V2beta1PipelineTaskDetail], details: list[V2beta1PipelineTaskDetail]) -> list[str]:
    """Name the innermost executions: those have a pod."""
    return [node.pod_name for execution in executions for node in _descend(execution, details) if node.pod_name]


def _descend(
    execution: V2beta1PipelineTaskDetail, details: list[V2beta1PipelineTaskDetail]
) -> Iterator[V2beta1PipelineTaskDetail]:
    names = {child.pod_name for child in execution.child_tasks or []}
    children = [detail for detail in details if detail.pod_name in names and detail is not execution]
    if not children:
        yield execution
    for child in children:
        yield from _descend(child, details)


def _find_failures(tasks: list[Task], details: list[V2beta1PipelineTaskDetail]) -> Iterator[TaskFailure]:
    """Yield the failed tasks of the pipeline; where its tasks are not known, the innermost of all that failed."""
    titles = {task.name: task.title for task in tasks}
    failed = [detail for detail in details if detail.state == "FAILED"]
    known = [detail for detail in failed if detail.display_name in titles]
    for detail in known or [detail for detail in failed if list(_descend(detail, details)) == [detail]]:
        inner = [node for node in _descend(detail, details) if node.state == "FAILED"] or [detail]
        message = next((node.error.message for node in [*inner, detail] if node.error and node.error.message), "")
        title = titles.get(detail.display_name or "", detail.display_name or "a task")
        yield TaskFailure(title, " ".join(message.split()), inner[-1].pod_name or "")


def _insist(ask: Callable[[], Answer], console: PlainConsole) -> Answer:
    """Return the answer to a question, which is asked again until the server has been away for too long."""
    deadline = time.monotonic() + PATIENCE_S
    told = False
    while True:
        try:
            answer = ask()
        except UnavailableError as error:
            if time.monotonic() >= deadline:
                raise
            if not told:
                console.tell((f"the server is away; asking again for up to {PATIENCE_S / 60:g} min ({error})", "dim"))
            told = True
            pause(POLL_S)
            continue
        if told:
            console.tell(("the server answers again", "dim"))
        return answer
