"""Runs the compiled pipeline on this machine and follows it."""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipelines.compilation import PIPELINE_FILE, is_current
from pipelines.containers import Containers, make_paths_absolute, plan_containers
from pipelines.inputs import choose_config, find_inputs
from pipelines.options import Runner, RunOptions
from pipelines.pipeline_root import RUNS_AGAIN, identify_run, mark_run, open_cache
from pipelines.task_log import COLOR, TASK_INDENT, TaskLog
from pipelines.tasks import INTERPRETER, Task, read_tasks
from pipelines.views import View, open_view
from ur4rec.commands.console import read_config, show
from ur4rec.data.sequences import PRODUCER
from ur4rec.registry.environment import LOCAL_RUN, RUN_OWNER
from ur4rec.registry.mlflow_client import TRACKING_URI, public_uri
from ur4rec.registry.run_log import name_process
from ur4rec.stop_signals import interrupted_by_signals
from ur4rec.storage.locks import lock_folder
from ur4rec.storage.temporaries import replacing, scratch_folder
from ur4rec.storage.writing import writing
from ur4rec.terminal import PlainConsole

GRACE_S = 30
"""How long tasks may take to keep what they have, as on Kubernetes; most need none of it."""
STOPPED = "stopped: "
LOG = Path("logs", "pipeline.log")
OUTPUTS = "outputs.json"
TOLD = (RUNS_AGAIN, f"{TASK_INDENT}{PRODUCER}: warning: ")
"""Beginnings of lines of the log that are shown at once."""


@dataclass(frozen=True)
class LocalRun:
    """What to run, and where."""

    pipeline: Path
    arguments: Mapping[str, Any]
    environment: Mapping[str, str]
    pipeline_root: Path
    output_dir: Path
    caching: bool = True
    """Otherwise every task runs, and what it makes replaces what the cache held."""

    containers: Containers | None = None
    """How they are run; None: every task is a process."""

    @property
    def tracking_uri(self) -> str:
        """MLflow's address, without credentials."""
        return public_uri(self.environment[TRACKING_URI])

    @property
    def log(self) -> Path:
        """Gets everything that kfp and the tasks print."""
        return self.output_dir / LOG


@dataclass(frozen=True)
class Outcome:
    """What became of a run."""

    tasks: list[Task]
    outputs: dict[str, Path]
    """Output of the pipeline → artifact; empty where a task failed."""
    peak_memory_mb: float
    """The largest process."""

    @property
    def succeeded(self) -> bool:
        """Whether every task ended well."""
        return bool(self.outputs)


def prepare(options: RunOptions) -> LocalRun:
    """Read the configuration, get the data and digest everything that the tasks depend on.

    Raises:
        ValueError: Typed: the configuration, the system, the device, the data or the compiled pipeline cannot be used.
    """
    config = read_config(choose_config(options), options.settings)
    inputs = find_inputs(options, config) if options.data and Path(options.data).exists() else None
    # These load torch and kfp, for which bad data need not wait.
    from pipelines.arguments import build_arguments
    from ur4rec.training.checkpoints import resolve_device

    if not is_current(PIPELINE_FILE):
        show(f"note: {PIPELINE_FILE} is older than its sources and runs as it is; python -m pipelines compile")
    resolve_device(options.device)
    inputs = inputs or find_inputs(options, config)
    root = options.pipeline_root.absolute()
    containers = None
    if options.runner is Runner.DOCKER:
        config = make_paths_absolute(config)
        containers = plan_containers(config, inputs, root)
    return LocalRun(
        pipeline=PIPELINE_FILE,
        arguments=build_arguments(config, inputs),
        environment=inputs.tracking.environment,
        pipeline_root=root,
        output_dir=options.output_dir,
        caching=not options.no_cache,
        containers=containers,
    )


@contextmanager
def lock_run(run: LocalRun) -> Iterator[None]:
    """Keep other runs out of the folders of this one.

    Raises:
        FolderInUseError: Another run works there.
    """
    with ExitStack() as stack:
        for folder in sorted({run.pipeline_root, run.output_dir}):
            stack.enter_context(lock_folder(folder))
        yield


def execute(run: LocalRun, console: PlainConsole) -> Outcome:
    """Run every task that is not cached and shows the progress.

    Raises:
        KeyboardInterrupt: Also for SIGTERM and SIGHUP; its notes say what tasks have kept. No process is left behind.
    """
    tasks = read_tasks(run.pipeline)
    run.log.parent.mkdir(parents=True, exist_ok=True)
    with (
        scratch_folder("run") as scratch,
        mark_run(run.pipeline_root),
        open_cache(run.pipeline_root, run.caching) as cache,
        identify_run(run.pipeline_root, run.arguments) as run_id,
    ):
        with open_view(console, tasks, f"log: {run.log}") as view, _start(run, cache, scratch, run_id) as lines:
            _follow(lines, TaskLog(tasks), run.log, view, console)
        outputs = json.loads((scratch / OUTPUTS).read_bytes()) if (scratch / OUTPUTS).is_file() else {}
    return Outcome(
        tasks=tasks,
        outputs={name: Path(path) for name, path in outputs.items()},
        peak_memory_mb=_largest_child_mb(),
    )


def _follow(lines: Iterable[str], follower: TaskLog, log: Path, view: View, console: PlainConsole) -> None:
    with writing(log), log.open("w", encoding="utf-8") as file:
        for line in lines:
            plain = COLOR.sub("", line)
            file.write(plain)
            if plain.startswith(TOLD):
                console.tell(plain.strip())
            if changed := follower.read(line):
                file.flush()
                view.update(changed)


@contextmanager
def _start(run: LocalRun, cache: Path, scratch: Path, run_id: str) -> Iterator[IO[str]]:
    """Yield what the executing process and the tasks print; none of them is left at the end."""
    request = scratch / "request.json"
    paths = {"pipeline": run.pipeline, "pipeline_root": run.pipeline_root, "cache": cache, "outputs": scratch / OUTPUTS}
    named = {name: str(path) for name, path in paths.items()}
    containers = run.containers.model_dump(mode="json") if run.containers else None
    content = {"arguments": dict(run.arguments), "containers": containers, **named}
    request.write_text(json.dumps(content), encoding="utf-8")
    with interrupted_by_signals():
        process = subprocess.Popen(  # noqa: S603  # our own module
            [sys.executable, "-m", "pipelines.local_executor", str(request)],
            stdin=subprocess.PIPE,  # it ends with this process, even where that is killed
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=_make_environment(run, scratch) | {LOCAL_RUN: run_id, RUN_OWNER: name_process()},
            start_new_session=True,  # so that one signal to the group reaches the tasks as well
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout as lines:
            try:
                yield lines
                process.wait()
            except BaseException as error:
                _kill_group(process)
                for line in _log_rest(lines, run.log):
                    error.add_note(line)
                raise


def _kill_group(process: subprocess.Popen[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)


def _log_rest(lines: IO[str], log: Path) -> list[str]:
    """Return what the tasks said when they were stopped, and add it to the log."""
    rest = [COLOR.sub("", line) for line in lines]  # kfp indents what tasks print
    with log.open("a", encoding="utf-8") as file:
        file.writelines(rest)
    return [line.strip() for line in rest if line.lstrip().startswith(STOPPED)]


def _make_environment(run: LocalRun, scratch: Path) -> dict[str, str]:
    folder = run.pipeline_root / ".bin"
    interpreter = folder / INTERPRETER
    with replacing(interpreter) as temporary:
        temporary.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        temporary.chmod(0o755)
    path = os.pathsep.join([str(folder), os.environ.get("PATH", os.defpath)])
    own = {"PATH": path, "TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **run.environment, **own}


def _largest_child_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)
