"""Pipelines → `pipeline.yaml`."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from pipelines.image_names import ImageNames
from ur4rec.storage.temporaries import replacing, scratch_folder

NAMED_BY_VERSION = ImageNames()
PIPELINE_FILE = Path(__file__).parents[1] / "pipeline.yaml"
"""The committed file: made by `python -m pipelines compile`, never edited."""
SDK_VERSION = re.compile(rb"^sdkVersion: .*$", re.MULTILINE)


class PipelineFileError(ValueError):
    """A compiled pipeline that is missing or older than its sources."""


def compile_pipeline(target: Path, images: ImageNames = NAMED_BY_VERSION, profile: str | None = None) -> None:
    """Writes the compiled pipeline; equal sources give equal bytes.

    Args:
        target: File to write.
        images: Names of the images.
        profile: Resources of the tasks: the name of a shipped profile or a YAML file; None for the defaults.

    Raises:
        ConfigError: There is no such profile, or it is wrong.
        WriteError: The disk is full, say.
    """
    content = _compile(images, profile)
    with replacing(target) as temporary:
        temporary.write_bytes(content)


def check_compiled(target: Path, images: ImageNames = NAMED_BY_VERSION, profile: str | None = None) -> None:
    """Compares a file with what the sources compile to, byte by byte.

    Raises:
        PipelineFileError: The file is missing or differs.
    """
    if _read(target) != _compile(images, profile):
        raise PipelineFileError(
            f"{target}: differs from what the sources compile to; run `python -m pipelines compile`"
        )


def is_current(target: Path) -> bool:
    """Whether a file is what the sources compile to, whichever version of kfp compiled it.

    Raises:
        PipelineFileError: The file is missing.
    """
    return SDK_VERSION.sub(b"", _read(target)) == SDK_VERSION.sub(b"", _compile())


def _read(target: Path) -> bytes:
    if not target.is_file():
        raise PipelineFileError(f"{target}: not found; run `python -m pipelines compile`")
    return target.read_bytes()


def _compile(images: ImageNames = NAMED_BY_VERSION, profile: str | None = None) -> bytes:
    from kfp.compiler import Compiler

    from pipelines.resources import load_profile
    from pipelines.training import build_training

    chosen = load_profile(profile)
    with scratch_folder("compile") as scratch:
        file = scratch / "pipeline.yaml"
        Compiler().compile(build_training(chosen), str(file))
        return replace(images, gpu=chosen.uses_gpu).replace_in(file.read_bytes())
