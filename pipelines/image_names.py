"""Which images a compiled pipeline names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from components.image import REPOSITORY, SLIM, TRAIN

_DIGEST = re.compile(r"(slim|train)=(sha256:[0-9a-f]{64})")
_NAME = re.compile(r"(?P<repository>.+):(?P<version>[^:]+?)-(?P<target>slim|train-cpu)")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._:/-]+[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,110}")


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


def read_images(repository: str | None, tag: str | None, digests: Iterable[str] | None) -> ImageNames:
    """Names as the options of a command give them.

    Raises:
        ImageNameError: An option is of another form.
    """
    return ImageNames(repository, tag, parse_digests(digests or ()))


def parse_digests(options: Iterable[str]) -> dict[str, str]:
    """Target → digest.

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
