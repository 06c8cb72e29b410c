"""Executes a compiled pipeline with `kfp.local`, in a process of its own: everything it prints is a log."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import yaml
from kfp import components, local
from kfp.local import cache as kfp_cache
from kfp.local import subprocess_task_handler
from kfp.local.orchestrator import task_spec_utils
from kfp.local.orchestrator.task_spec_utils import create_parameter_loop_iteration_task_spec
from kfp.local.subprocess_task_handler import run_local_subprocess
from pydantic import BaseModel, ConfigDict

from pipelines.containers import Containers, run_container
from pipelines.movable_cache import MovableCache
from pipelines.tasks import INTERPRETER, load_with_outputs
from ur4rec.commands.console import let_waiting_threads_sleep
from ur4rec.stop_signals import finished_first, interrupted_by_signals
from ur4rec.storage.artifacts import write_text_atomic


class Request(BaseModel):
    """What to execute."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pipeline: Path
    arguments: dict[str, Any]
    pipeline_root: Path
    cache: Path
    """Results of earlier runs, by digest of everything they were made from."""
    containers: Containers | None = None
    """How containers are run; None: tasks are processes."""
    outputs: Path
    """Gets the pipeline's outputs: a JSON object of name → path of the artifact."""


def execute(request: Request) -> dict[str, str]:
    """Run every task that is not cached.

    Returns:
        Output of the pipeline → path of the artifact.

    Raises:
        RuntimeError: A task failed.
    """
    local.init(_create_runner(request.containers), pipeline_root=str(request.pipeline_root))
    cache = MovableCache(request.cache, request.pipeline_root)
    kfp_cache.get_local_cache = lambda: cache
    subprocess_task_handler.run_local_subprocess = _run_to_its_end
    hand_outputs_into_loops()
    component = components.load_component_from_text(load_without_retries(request.pipeline))
    with interrupted_by_signals():
        task = component(**request.arguments)
    return {name: artifact.uri for name, artifact in task.outputs.items()}


def _run_to_its_end(full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
    """Let a signal that asks this process to end reach the task as well, so that what that still prints is not lost."""
    with finished_first():
        return int(run_local_subprocess(full_command, env_vars))


def hand_outputs_into_loops() -> None:
    """Let the tasks of a loop have what tasks outside of it put out; kfp (2.17) gives them the item in its place."""
    task_spec_utils.create_parameter_loop_iteration_task_spec = _plan_iteration


def _plan_iteration(loop: Any, item: Any, name: str) -> Any:
    iteration = create_parameter_loop_iteration_task_spec(loop, item, name)
    for parameter, source in loop.inputs.parameters.items():
        if source.HasField("task_output_parameter"):
            iteration.inputs.parameters[parameter].CopyFrom(source)
    return iteration


def _create_runner(containers: Containers | None) -> local.SubprocessRunner | local.DockerRunner:
    if containers is None:
        return local.SubprocessRunner(use_venv=False)
    from kfp.local import docker_task_handler

    docker_task_handler.run_docker_container = run_container
    return local.DockerRunner(**containers.run_arguments())


def load_without_retries(pipeline: Path) -> str:
    """Return the compiled pipeline with its outputs; a failed task is not tried again.

    Retries are for machines and networks that fail; here a failure is the user's to see, at once.
    """
    documents = load_with_outputs(pipeline)
    compiled = documents[0]
    for component in (compiled["root"], *compiled["components"].values()):  # a loop is a component with tasks
        for task in component.get("dag", {}).get("tasks", {}).values():
            task.pop("retryPolicy", None)
    return yaml.safe_dump_all(documents, sort_keys=False)


def main() -> int:
    """Run the request in the file that is named on the command line."""
    # kfp puts the interpreter's path wherever it finds "python3", even inside paths of artifacts, and unquoted;
    # a replacement of the name by itself is harmless, and whoever starts this process chooses what it means.
    sys.executable = INTERPRETER
    # Every task is a process that inherits this environment.
    let_waiting_threads_sleep()
    warnings.filterwarnings("ignore", message=".*no effect in the current local runner")
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    request = Request.model_validate_json(Path(sys.argv[1]).read_bytes())
    try:
        outputs = execute(request)
    except RuntimeError as error:
        print(error, flush=True)
        return 1
    write_text_atomic(request.outputs, json.dumps(outputs))
    return 0


def end_with_parent() -> None:
    """End this process and its tasks with the one that started it: standard input is a pipe that ends with that.

    Both this process and its tasks are the group of a session of their own.
    """
    pipe, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # tasks inherit it

    def follow() -> None:
        os.read(pipe, 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=follow, daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main())
