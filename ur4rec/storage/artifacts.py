"""Artifact folders: written atomically, described by a manifest, verified before use."""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ur4rec.config_section import ConfigSection
from ur4rec.storage.temporaries import move_folder, replacing, temporary_sibling

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
REASONS = "settings_from_data"
"""Detail of a manifest: setting that the data have decided → why."""
MAKE_AGAIN = "; make the artifact again"


class ArtifactError(ValueError):
    """An artifact folder that is missing, incomplete or altered."""


class Manifest(BaseModel):
    """What an artifact folder holds and what it was made from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    producer: str
    config: dict[str, Any]
    config_digest: str
    files: dict[str, str]
    """Relative path → sha256 of every file."""
    inputs: dict[str, str]
    """Input name → sha256 of its manifest (or of the file, for a plain file)."""
    details: dict[str, Any]
    """What the producer wants to tell: counts, exclusions, provenance."""
    seconds: float
    peak_memory_mb: float

    @property
    def content_digest(self) -> str:
        """sha256 over the digests of the files: equal for equal content, whenever it was made."""
        return hashlib.sha256(json.dumps(self.files, sort_keys=True).encode()).hexdigest()


@dataclass
class ArtifactWriter:
    """Handed out by `write_artifact`: where to put files and what to note in the manifest."""

    folder: Path
    details: dict[str, Any] = field(default_factory=dict)


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, as hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process so far, in MiB.

    Where Linux keeps it: the count of `getrusage` survives an exec, so a small child of a large process looks large.
    """
    status = Path("/proc/self/status")
    if status.is_file() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return round(int(found[1]) / 1024, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


@contextmanager
def write_artifact(
    path: Path, producer: str, config: ConfigSection, inputs: Mapping[str, Path] | None = None
) -> Iterator[ArtifactWriter]:
    """Write an artifact folder that appears complete or not at all.

    Args:
        path: Where the folder goes; an older one of the same producer is replaced.
        producer: Name of the command that makes it.
        config: The fields that shaped it.
        inputs: Artifact folders (or files) it was made from.

    Yields:
        A writer whose `folder` is a temporary sibling of `path`.

    Raises:
        ArtifactError: A file, an input or another's folder is at `path`, or an input is incomplete or altered.
        WriteError: The disk is full, say; what was there before is as it was.
    """
    started = time.perf_counter()
    path, inputs = Path(path), {name: Path(source) for name, source in (inputs or {}).items()}
    check_producer(path, producer)
    _refuse_inputs(path, inputs)
    input_digests = {name: digest_artifact(source) for name, source in inputs.items()}
    with temporary_sibling(path) as temporary:
        writer = ArtifactWriter(temporary)
        yield writer
        manifest = Manifest(
            producer=producer,
            config=config.to_dict(),
            config_digest=config.digest(),
            files=_digest_files(temporary),
            inputs=input_digests,
            details=writer.details | ({REASONS: config.reasons} if config.reasons else {}),
            seconds=round(time.perf_counter() - started, 3),
            peak_memory_mb=peak_memory_mb(),
        )
        write_text_atomic(temporary / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
        check_producer(path, producer)
        move_folder(temporary, path)


def read_artifact(path: Path, known: Mapping[str, str] | None = None) -> Manifest:
    """Read a manifest and verify the digest of every file it names; `known` digests are not taken again.

    Raises:
        ArtifactError: The folder, its manifest or a file is missing or altered; names the file.
    """
    path = Path(path)
    manifest = read_manifest(path)
    for name, expected in manifest.files.items():
        file = path / name
        if not file.is_file():
            raise ArtifactError(f"{file}: named in the manifest but missing{MAKE_AGAIN}")
        if ((known or {}).get(name) or sha256_file(file)) != expected:
            raise ArtifactError(f"{file}: sha256 differs from the manifest{MAKE_AGAIN}")
    return manifest


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of a folder as it is; what it says of the files is not verified.

    Raises:
        ArtifactError: It is missing or not one; names it.
    """
    location = path / MANIFEST
    if not location.is_file():
        raise ArtifactError(f"{location}: not found; expected an artifact folder with a manifest")
    try:
        manifest = Manifest.model_validate_json(location.read_bytes())
    except ValidationError as error:
        problem = error.errors()[0]
        reason = ": ".join([*map(str, problem["loc"]), problem["msg"]])
        raise ArtifactError(f"{location}: not a manifest of schema version {SCHEMA_VERSION}: {reason}") from None
    if manifest.schema_version != SCHEMA_VERSION:
        raise ArtifactError(
            f"{location}: schema version {manifest.schema_version}, this release reads {SCHEMA_VERSION}{MAKE_AGAIN}"
        )
    return manifest


def read_artifact_of(path: Path, producer: str, details: Mapping[str, type] = MappingProxyType({})) -> Manifest:
    """Read and verify the folder of one producer, with the `details` that its readers count on, of these types.

    Raises:
        ArtifactError: It is missing or altered, another task wrote it, or a detail is missing or of another type.
    """
    manifest = read_artifact(path)
    if manifest.producer != producer:
        raise ArtifactError(f"{path}: written by {manifest.producer!r}; expected a folder of {producer!r}")
    for name, kind in details.items():
        if type(manifest.details.get(name)) is not kind:
            raise ArtifactError(f"{path / MANIFEST}: details.{name}: expected {kind.__name__}{MAKE_AGAIN}")
    return manifest


def check_named(path: Path, manifest: Manifest, names: Iterable[str]) -> None:
    """Raise an `ArtifactError` where a manifest does not vouch for a file that a reader is about to open."""
    if unnamed := [name for name in names if name not in manifest.files]:
        raise ArtifactError(f"{path / MANIFEST}: does not name {unnamed[0]}{MAKE_AGAIN}")


def write_text_atomic(path: Path, text: str) -> None:
    """Write a file that appears complete or not at all; its folder is made if need be.

    Raises:
        WriteError: The disk is full, say; what was there before is as it was.
    """
    write_texts_atomic({path: text})


def write_texts_atomic(texts: Mapping[Path, str]) -> None:
    """Write files that belong together: where one of them cannot be written, all are as they were."""
    with ExitStack() as places:
        for path, text in texts.items():
            temporary = places.enter_context(replacing(path))
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())


def digest_artifact(source: Path) -> str:
    """Return the sha256 of a file, or of the manifest of a folder whose files are what it says.

    Raises:
        ArtifactError: The folder is incomplete or altered; names the file.
    """
    if source.is_dir():
        read_artifact(source)
        return sha256_file(source / MANIFEST)
    return sha256_file(source)


def _digest_files(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


def check_replaceable(target: Path) -> None:
    """Raise an `ArtifactError` where something else than an artifact folder or an empty folder is."""
    if not target.exists():
        return
    if not target.is_dir() or (not (target / MANIFEST).is_file() and any(target.iterdir())):
        raise ArtifactError(f"{target}: exists and is not an artifact folder; refusing to replace it")


def check_producer(target: Path, producer: str | None) -> None:
    """Refuse to replace what is no artifact, or an artifact by something of another kind.

    Args:
        target: The place; free, or with a folder.
        producer: Who makes what is to come there; None where that is no artifact.

    Raises:
        ArtifactError: Something else is there, or the artifact of another producer; names both.
    """
    check_replaceable(target)
    found = find_producer(target)
    if found not in (None, producer):
        raise ArtifactError(
            f"{target}: holds what {found} wrote, refusing to replace it by "
            f"{f'what {producer} writes' if producer else 'a folder without manifest'}; "
            "choose another folder, with -o for example, or delete this one first"
        )


def find_producer(folder: Path) -> str | None:
    """Return who wrote an artifact folder; None where there is no manifest, or a damaged one."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return manifest.get("producer") if isinstance(manifest, dict) else None


def _refuse_inputs(target: Path, inputs: Mapping[str, Path]) -> None:
    for name, source in inputs.items():
        if source.resolve().is_relative_to(target.resolve()):
            raise ArtifactError(
                f"{target}: holds the input {name} ({source}), refusing to replace it by what is made from it; "
                "choose another folder, with -o for example"
            )
