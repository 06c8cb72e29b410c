"""The cache of a run on this machine: it moves with its project, and believes nothing that it cannot verify."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kfp import dsl
from kfp.dsl.executor import create_artifact_instance
from kfp.local.cache import LocalCache
from pydantic import BaseModel, ConfigDict

from pipelines.pipeline_root import RUNS_AGAIN
from ur4rec.registry.mlflow_client import SQLITE, database_of, public_uri, resolve_tracking_uri
from ur4rec.storage.artifacts import MAKE_AGAIN, ArtifactError, digest_artifact, write_text_atomic
from ur4rec.storage.stores import is_cloud
from ur4rec.storage.temporaries import remove

KEYED_BY_DIGEST = {"interactions", "items", "item_text", "user_text"}
"""Parameters that name files whose digest is another parameter."""
WITHOUT_EFFECT = {"state"}
"""Parameters that change no result."""
REGISTRATION, TRACKING_URI = "registration", "tracking_uri"


class CachedArtifact(BaseModel):
    """An artifact as its task left it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    schema_title: str
    metadata: dict[str, Any]
    place: str
    """Its path below the pipeline root."""
    digest: str


class CachedOutputs(BaseModel):
    """An entry: what a task put out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: dict[str, Any]
    artifacts: dict[str, CachedArtifact]


class MovableCache(LocalCache):  # type: ignore[misc]  # kfp has no types
    """Replaces the cache of kfp (2.17), whose keys and entries hold absolute paths, and which trusts what it finds.

    Places are relative to the pipeline root here, so that the cache of a copied or moved project is its own. An entry
    counts while all of its artifacts are what the task wrote; another one is dropped, and its task runs again.

    Args:
        folder: Holds the entries.
        pipeline_root: Where the artifacts are.
    """

    def __init__(self, folder: Path, pipeline_root: Path) -> None:
        super().__init__(str(folder))
        self._root = pipeline_root
        self._tasks: dict[str, str] = {}

    def compute_key(
        self, component_name: str, image: str, full_command: list[str], arguments: dict[str, Any], **others: Any
    ) -> str:
        """Return the key of a task; equal keys mean equal results."""
        movable = {name: self._make_movable(name, value) for name, value in arguments.items()}
        key: str = super().compute_key(component_name, image, full_command, movable, **others)
        self._tasks[key] = component_name.removeprefix("comp-")
        return key

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what the task put out; None where that is not known, or not there any more as it was."""
        location = Path(self._entry_path(key))
        if not os.path.lexists(location):
            return None
        try:
            entry = CachedOutputs.model_validate_json(location.read_bytes())
            outputs = entry.parameters | {name: self._restore(made) for name, made in entry.artifacts.items()}
            if REGISTRATION in outputs and _follow_registry(Path(outputs[REGISTRATION].uri)):
                self.put(key, outputs)
        except (OSError, ValueError) as error:
            remove(location)
            print(f"{RUNS_AGAIN}{self._tasks[key]} runs again, {_explain(location, error)}", flush=True)
            return None
        return outputs

    def put(self, key: str, outputs: Mapping[str, Any]) -> None:
        """Remember what a task put out."""
        made = {name: output for name, output in outputs.items() if isinstance(output, dsl.Artifact)}
        entry = CachedOutputs(
            parameters={name: output for name, output in outputs.items() if name not in made},
            artifacts={name: self._describe(artifact) for name, artifact in made.items()},
        )
        write_text_atomic(Path(self._entry_path(key)), entry.model_dump_json())

    def _make_movable(self, name: str, value: Any) -> Any:
        """Return a value of the key: contents count, and where a thing is within the project."""
        if isinstance(value, dsl.Artifact):
            return [value.schema_title, self._place(value)]
        if isinstance(value, dict):
            return {key: self._make_movable("", part) for key, part in value.items()}
        if isinstance(value, list):
            return [self._make_movable("", part) for part in value]
        if not isinstance(value, str) or name in WITHOUT_EFFECT:
            return None if name in WITHOUT_EFFECT else value
        if name in KEYED_BY_DIGEST and not is_cloud(value):
            return Path(value).name if Path(value).is_file() else bool(value)
        scheme, path = (SQLITE, value.removeprefix(SQLITE)) if value.startswith(SQLITE) else ("", value)
        return scheme + os.path.relpath(path, self._root) if path.startswith("/") else value

    def _place(self, artifact: dsl.Artifact) -> str:
        return Path(artifact.uri).relative_to(self._root).as_posix()

    def _describe(self, artifact: dsl.Artifact) -> CachedArtifact:
        return CachedArtifact(
            name=artifact.name,
            schema_title=artifact.schema_title,
            metadata=artifact.metadata,
            place=self._place(artifact),
            digest=digest_artifact(Path(artifact.uri)),
        )

    def _restore(self, artifact: CachedArtifact) -> dsl.Artifact:
        path = self._root / artifact.place
        if not path.exists():
            raise ArtifactError(f"{path}: is gone")
        if digest_artifact(path) != artifact.digest:
            raise ArtifactError(f"{path}: is not what the task wrote")
        described = {"name": artifact.name, "uri": str(path), "metadata": artifact.metadata}
        return create_artifact_instance(described | {"type": {"schemaTitle": artifact.schema_title}})


def _follow_registry(registration: Path) -> bool:
    """Let a registration name the registry of this run, which may have moved with the project; return whether it had.

    Raises:
        ArtifactError: The registry's database is gone.
    """
    address = resolve_tracking_uri(None)
    database = database_of(address)
    if database is not None and not (database.is_file() and database.stat().st_size):
        raise ArtifactError(f"{database}: the registry is gone")
    content = json.loads(registration.read_bytes())
    if content[TRACKING_URI] == public_uri(address):
        return False
    write_text_atomic(registration, json.dumps(content | {TRACKING_URI: public_uri(address)}, indent=2) + "\n")
    return True


def _explain(entry: Path, error: OSError | ValueError) -> str:
    if isinstance(error, ArtifactError):
        return str(error).removesuffix(MAKE_AGAIN)
    reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else "is damaged"
    return f"{getattr(error, 'filename', None) or entry}: {reason}"
