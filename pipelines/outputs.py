"""What a run leaves behind: names for the artifacts of its tasks.

kfp lets no pipeline whose tasks are in an exit handler have outputs. A cluster needs none; a run on this machine does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ur4rec.training.config import STAGES

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


def load_with_outputs(pipeline: Path) -> list[Spec]:
    """The documents of a compiled pipeline; those artifacts that have a name are outputs of it."""
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
    """The tasks of the pipeline that are groups of tasks: its exit handler."""
    for name, task in spec["root"]["dag"]["tasks"].items():
        if "dag" in spec.get("components", {}).get(task["componentRef"]["name"], {}):
            yield name, task


def _expose(component: Spec, output: str, task: str, key: str, kind: Mapping[str, Any]) -> None:
    """Makes an artifact of a task an output of the component that the task is in."""
    component.setdefault("outputDefinitions", {}).setdefault("artifacts", {})[output] = dict(kind)
    selector = {"outputArtifactKey": key, "producerSubtask": task}
    component["dag"].setdefault("outputs", {}).setdefault("artifacts", {})[output] = {"artifactSelectors": [selector]}
