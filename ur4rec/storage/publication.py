"""The manifest of a folder that was published in cloud storage.

`manifest.json` below the prefix names a sub-prefix and every file in it:

    gs://bucket/prefix/manifest.json
    gs://bucket/prefix/content/<number>-<digest>/<path of a file>

The number belongs to the manifest which the publisher found (0: none) and whose replacement is the condition of putting
its own there: its generation where the service counts versions, else one more than the number in it. So what is built
on a smaller number than the current one can never be named by a manifest any more: it is a leftover, whoever left it,
and removing it takes no clock. The digest is that of the contents: a publisher that was killed and starts again finds
what it has uploaded.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from ur4rec.storage.artifacts import ArtifactError
from ur4rec.storage.checksums import FileDigest
from ur4rec.storage.objects import is_file_name

KIND: Final = "published folder"
CONTENT = "content"
VERSION = re.compile(rf"{CONTENT}/(\d+)-[0-9a-f]{{16}}")


def check_file_name(name: str) -> str:
    """Return a relative path; raise an `ArtifactError` where it would leave its folder or cannot name an object."""
    if not is_file_name(name):
        raise ArtifactError(f"{name!r}: not the path of a file below a folder")
    return name


def _check_version(name: str) -> str:
    if VERSION.fullmatch(name) is None:
        raise ArtifactError(f"{name!r}: expected {CONTENT}/<number>-<digest>")
    return name


class PublishedFile(BaseModel):
    """What a file must contain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    size_bytes: int


class Publication(BaseModel):
    """A folder in cloud storage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["published folder"] = KIND
    schema_version: Literal[1] = 1
    content: Annotated[str, AfterValidator(_check_version)]
    """The sub-prefix below which the files are."""
    former: Annotated[str, AfterValidator(_check_version)] | None
    """The sub-prefix of the version before, kept for those who are reading it."""
    files: dict[Annotated[str, AfterValidator(check_file_name)], PublishedFile]
    """Relative path → content of every file."""

    @property
    def number(self) -> int:
        """What the publisher built on."""
        return _number_of(self.content)

    @property
    def size_bytes(self) -> int:
        """The bytes of all files."""
        return sum(file.size_bytes for file in self.files.values())


def parse_publication(content: bytes, place: str) -> Publication | None:
    """Read a manifest; None where it is that of something else, an artifact folder for example.

    Raises:
        ArtifactError: It is damaged; names the `place` that it comes from.
    """
    try:
        found = json.loads(content)
        if not isinstance(found, dict) or found.get("kind") != KIND:
            return None
        return Publication.model_validate(found)
    except (ValidationError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ArtifactError(f"{place}: not the manifest of a published folder; publish it again: {error}") from None


def name_version(number: int, files: Mapping[str, FileDigest]) -> str:
    """Name the sub-prefix for these contents, built on the manifest of a number."""
    digests = {name: digest.sha256 for name, digest in files.items()}
    digest = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
    return f"{CONTENT}/{number}-{digest[:16]}"


def is_leftover(version: str, publication: Publication, number: int) -> bool:
    """Return whether a sub-prefix can neither be read nor published any more, given the current manifest."""
    is_ours = VERSION.fullmatch(version) is not None
    return is_ours and _number_of(version) < number and version not in (publication.content, publication.former)


def _number_of(version: str) -> int:
    return int(version.removeprefix(f"{CONTENT}/").partition("-")[0])
