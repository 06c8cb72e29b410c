"""Pipelines → `pipeline.yaml`, and which images it names."""

from __future__ import annotations

import re
from pathlib import Path

from components.image import REPOSITORY, SLIM, TRAIN
from pipelines.options import ImageOptions
from ur4rec.storage.temporaries import replacing, scratch_folder

NAMED_BY_VERSION = ImageOptions()
PIPELINE_FILE = Path(__file__).parents[1] / "pipeline.yaml"
"""The committed file: made by `python -m pipelines compile`, never edited."""
SDK_VERSION = re.compile(rb"^sdkVersion: .*$", re.MULTILINE)
CACHED = re.compile(rb"cachingOptions:\n +enableCache: true\n")
_DIGEST = re.compile(r"(slim|train)=(sha256:[0-9a-f]{64})")
_NAME = re.compile(r"(?P<repository>.+):(?P<version>[^:]+?)-(?P<target>slim|train-cpu)")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._:/-]+[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,110}")


class PipelineFileError(ValueError):
    """A compiled pipeline that is missing or older than its sources."""


class ImageNameError(ValueError):
    """A name or digest of an image that cannot be one; says what was expected."""


def check_images(options: ImageOptions) -> dict[str, str]:
    """Check the names of images; return the digests: target → digest.

    Raises:
        ImageNameError: A name or digest is of another form.
    """
    repository, tag = options.image_repository, options.image_tag
    if repository is not None and not _REPOSITORY.fullmatch(repository):
        raise ImageNameError(f"--image-repository {repository}: expected a name such as registry.example/ur4rec")
    if tag is not None and not _TAG.fullmatch(tag):
        raise ImageNameError(f"--image-tag {tag}: expected a tag such as 1.4.0")
    digests = {}
    for option in options.image_digest or ():
        match = _DIGEST.fullmatch(option)
        if match is None:
            raise ImageNameError(f"--image-digest {option}: expected slim=sha256:… or train=sha256:…, 64 digits each")
        digests[match[1]] = match[2]
    return digests


def name_images(compiled: bytes, options: ImageOptions, gpu: bool = False) -> bytes:
    """Return a compiled pipeline with names in place of those that the components carry.

    Args:
        compiled: Names images by version.
        options: The names.
        gpu: Whether training runs in `train-gpu`.

    Raises:
        ImageNameError: A name or digest is of another form.
    """
    digests = check_images(options)
    for image in (SLIM, TRAIN):
        parts = _NAME.fullmatch(image)
        assert parts is not None
        target = "train-gpu" if gpu and image == TRAIN else parts["target"]
        name = f"{options.image_repository or REPOSITORY}:{options.image_tag or parts['version']}-{target}"
        digest = digests.get(target.partition("-")[0])
        pinned = f"{name}@{digest}" if digest else name
        compiled = compiled.replace(f"image: {image}\n".encode(), f"image: {pinned}\n".encode())
    return compiled


def compile_pipeline(target: Path, options: ImageOptions = NAMED_BY_VERSION) -> None:
    """Write the compiled pipeline; equal sources give equal bytes.

    Raises:
        ConfigError: There is no such profile, or it is wrong.
        ImageNameError: The name or digest of an image is of another form.
        WriteError: The disk is full, say.
    """
    content = compile_training(options)
    with replacing(target) as temporary:
        temporary.write_bytes(content)


def check_compiled(target: Path, options: ImageOptions = NAMED_BY_VERSION) -> None:
    """Compare a file with what the sources compile to, byte by byte.

    Raises:
        PipelineFileError: The file is missing or differs.
    """
    if _read(target) != compile_training(options):
        raise PipelineFileError(
            f"{target}: differs from what the sources compile to; run `python -m pipelines compile`"
        )


def is_current(target: Path) -> bool:
    """Return whether a file is what the sources compile to, whichever version of kfp compiled it.

    Raises:
        PipelineFileError: The file is missing.
    """
    return SDK_VERSION.sub(b"", _read(target)) == SDK_VERSION.sub(b"", compile_training())


def _read(target: Path) -> bytes:
    if not target.is_file():
        raise PipelineFileError(f"{target}: not found; run `python -m pipelines compile`")
    return target.read_bytes()


def compile_training(options: ImageOptions = NAMED_BY_VERSION) -> bytes:
    """Return the compiled pipeline.

    Raises:
        ConfigError: There is no such profile, or it is wrong.
        ImageNameError: The name or digest of an image is of another form.
    """
    check_images(options)
    from kfp.compiler import Compiler

    from pipelines.resources import load_profile
    from pipelines.training import build_training

    profile = load_profile(options.profile)
    with scratch_folder("compile") as scratch:
        file = scratch / "pipeline.yaml"
        Compiler().compile(build_training(profile), str(file))
        compiled = CACHED.sub(b"cachingOptions: {}\n", file.read_bytes()) if options.no_cache else file.read_bytes()
        return name_images(compiled, options, profile.uses_gpu)
