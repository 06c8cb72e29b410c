"""Pipelines → `pipeline.yaml`, and which images it names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from components.image import REPOSITORY, SLIM, TRAIN
from pipelines.options import ImageOptions
from ur4rec.storage.temporaries import replacing, scratch_folder

PIPELINE_FILE = Path(__file__).parents[1] / "pipeline.yaml"
"""The committed file: made by `python -m pipelines compile`, never edited."""
SDK_VERSION = re.compile(rb"^sdkVersion: .*$", re.MULTILINE)
_DIGEST = re.compile(r"(slim|train)=(sha256:[0-9a-f]{64})")
_NAME = re.compile(r"(?P<repository>.+):(?P<version>[^:]+?)-(?P<target>slim|train-cpu)")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._:/-]+[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,110}")


class PipelineFileError(ValueError):
    """A compiled pipeline that is missing or older than its sources."""


class ImageNameError(ValueError):
    """A name or digest of an image that cannot be one; says what was expected."""


@dataclass(frozen=True)
class ImageNames:
    """Names in place of those that the components carry.

    Args:
        repository: Without a tag.
        tag: Without the target, which follows after a dash.
        digests: `slim` and `train` → digest of the image.
        gpu: Whether training runs in `train-gpu`.

    Raises:
        ImageNameError: Repository or tag cannot be one.
    """

    repository: str | None = None
    tag: str | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    gpu: bool = False

    def __post_init__(self) -> None:
        if self.repository is not None and not _REPOSITORY.fullmatch(self.repository):
            raise ImageNameError(
                f"--image-repository {self.repository}: expected a name such as registry.example/ur4rec"
            )
        if self.tag is not None and not _TAG.fullmatch(self.tag):
            raise ImageNameError(f"--image-tag {self.tag}: expected a tag such as 1.4.0")

    def replace_in(self, compiled: bytes) -> bytes:
        """The same compiled pipeline with these names."""
        for image in (SLIM, TRAIN):
            old, new = (f"image: {name}\n".encode() for name in (image, self._rename(image)))
            compiled = compiled.replace(old, new)
        return compiled

    def _rename(self, image: str) -> str:
        parts = _NAME.fullmatch(image)
        assert parts is not None
        target = "train-gpu" if self.gpu and image == TRAIN else parts["target"]
        name = f"{self.repository or REPOSITORY}:{self.tag or parts['version']}-{target}"
        digest = self.digests.get(target.partition("-")[0])
        return f"{name}@{digest}" if digest else name


NAMED_BY_VERSION = ImageNames()


def read_images(options: ImageOptions) -> ImageNames:
    """Return the names that the options of a command give.

    Raises:
        ImageNameError: An option is of another form.
    """
    return ImageNames(options.image_repository, options.image_tag, parse_digests(options.image_digest or ()))


def parse_digests(options: Iterable[str]) -> dict[str, str]:
    """Read the digests of images: target → digest.

    Raises:
        ImageNameError: An option is of another form.
    """
    digests = {}
    for option in options:
        match = _DIGEST.fullmatch(option)
        if match is None:
            raise ImageNameError(f"--image-digest {option}: expected slim=sha256:… or train=sha256:…, 64 digits each")
        digests[match[1]] = match[2]
    return digests


def compile_pipeline(target: Path, images: ImageNames = NAMED_BY_VERSION, profile: str | None = None) -> None:
    """Write the compiled pipeline; equal sources give equal bytes.

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
    """Compare a file with what the sources compile to, byte by byte.

    Raises:
        PipelineFileError: The file is missing or differs.
    """
    if _read(target) != _compile(images, profile):
        raise PipelineFileError(
            f"{target}: differs from what the sources compile to; run `python -m pipelines compile`"
        )


def is_current(target: Path) -> bool:
    """Return whether a file is what the sources compile to, whichever version of kfp compiled it.

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
