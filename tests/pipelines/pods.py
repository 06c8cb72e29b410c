"""What pods see: each task is a process in a folder of its own, with the variables of its pod and no others.

Secrets and config maps are handed on as the compiled file says; one that is not there and not optional fails its task.
Artifacts lie in one folder, which stands for the object store of Kubeflow Pipelines.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
KINDS = (("configMapAsEnv", "configMap", "config_maps"), ("secretAsEnv", "secret", "secrets"))
STATES = "states.json"


@dataclass(frozen=True)
class Pods:
    """The namespace that pods are in."""

    config_maps: dict[str, dict[str, str]] = field(default_factory=dict)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    network: dict[str, str] = field(default_factory=dict)
    """Variables that lead to services which a cluster would know by name."""

    def execute(self, specification: Json, parameters: Json, run_id: str, folder: Path) -> tuple[dict[str, str], str]:
        """Runs every task that can be; returns their states, those that did not run skipped, and what was printed."""
        pipeline = folder / "pipeline.yaml"
        documents = [specification["pipeline_spec"], specification["platform_spec"]]
        pipeline.write_text(yaml.safe_dump_all(documents, sort_keys=False))
        request = {"parameters": parameters, "run_id": run_id, "folder": str(folder), **asdict(self)}
        (folder / "request.json").write_text(json.dumps(request))
        done = subprocess.run(
            [sys.executable, __file__, str(folder / "request.json")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])},
            check=False,
        )
        states = json.loads((folder / STATES).read_text()) if (folder / STATES).is_file() else {}
        return {name: states.get(name, "SKIPPED") for name in list_tasks(documents[0])}, done.stdout


def list_tasks(specification: Json) -> Iterator[str]:
    for part in (specification["root"], *specification["components"].values()):
        for name, task in part.get("dag", {}).get("tasks", {}).items():
            if "dag" not in specification["components"][task["componentRef"]["name"]]:
                yield name


def make_environment(request: Json, settings: Json) -> dict[str, str] | None:
    """The variables of a pod; none where the pod cannot be made."""
    made = dict(request["network"])
    for pair in settings.get("fieldPathAsEnv", []):
        assert pair["fieldPath"] == "metadata.labels['pipeline/runid']"
        made[pair["name"]] = request["run_id"]
    for kind, prefix, known in KINDS:
        for source in settings.get(kind, []):
            values = request[known].get(source[f"{prefix}Name"])
            if values is None and not source.get("optional"):
                return None
            for pair in source["keyToEnv"]:
                key = pair.get("configMapKey") or pair["secretKey"]
                if key in (values or {}):
                    made[pair["envVar"]] = values[key]
    return made


def main(file: Path) -> None:
    from kfp import components, local
    from kfp.local import subprocess_task_handler

    from pipelines.local_executor import hand_outputs_into_loops, load_without_retries

    request = json.loads(file.read_text())
    folder = Path(request["folder"])
    compiled = load_without_retries(folder / "pipeline.yaml")
    _, platform = yaml.safe_load_all(compiled)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    states: dict[str, str] = {}
    lock = threading.Lock()

    def run_pod(full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        name = full_command[full_command.index("--function_to_execute") + 1].replace("_", "-")
        environment = make_environment(request, executors[f"exec-{name}"])
        with lock:
            pod = folder / "pods" / f"{len(list((folder / 'pods').glob('*')))}-{name}"
            pod.mkdir(parents=True)
        own = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ["PYTHONPATH"], "HOME": str(pod), "TMPDIR": str(pod)}
        code = 1
        if environment is not None:
            command = subprocess.Popen(
                full_command,
                cwd=pod,
                env={**own, "OMP_NUM_THREADS": "1", **environment, **(env_vars or {})},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert command.stdout
            for line in command.stdout:
                print(f"{name}: {line}", end="", flush=True)
            code = command.wait()
        with lock:
            states[name] = "FAILED" if code or states.get(name) == "FAILED" else "SUCCEEDED"
            (folder / STATES).write_text(json.dumps(states))
        return code

    subprocess_task_handler.run_local_subprocess = run_pod
    hand_outputs_into_loops()
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(folder / "artifacts"))
    components.load_component_from_text(compiled)(**request["parameters"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
