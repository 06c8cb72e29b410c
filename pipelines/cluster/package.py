"""The compiled pipeline as it is sent to a server."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from pipelines.compilation import compile_pipeline
from pipelines.image_names import ImageNames
from ur4rec import __version__
from ur4rec.storage.temporaries import scratch_folder

DIGEST_DIGITS = 16
KINDS: dict[str, tuple[type, ...]] = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "STRUCT": (dict,),
    "LIST": (list,),
}
"""What the types of a compiled pipeline are here."""


class ParameterError(ValueError):
    """A parameter that the compiled pipeline does not take as it is."""


@dataclass(frozen=True)
class Package:
    """A compiled pipeline.

    Args:
        content: The YAML file.
    """

    content: bytes

    @cached_property
    def specification(self) -> dict[str, Any]:
        """The first document of the file."""
        found: dict[str, Any] = next(yaml.safe_load_all(self.content))
        return found

    @property
    def pipeline_name(self) -> str:
        """Name of the pipeline within the file."""
        return str(self.specification["pipelineInfo"]["name"])

    @property
    def digest(self) -> str:
        """sha256 of the bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def version_name(self) -> str:
        """Version of the software and the digest's first digits, so that equal bytes have one name."""
        return f"{__version__}-{self.digest[:DIGEST_DIGITS]}"

    @property
    def images(self) -> list[str]:
        """Every image that a task runs in."""
        executors = self.specification["deploymentSpec"]["executors"].values()
        return sorted({executor["container"]["image"] for executor in executors if "container" in executor})

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Compares parameters with those that the pipeline takes.

        Raises:
            ParameterError: One is missing, unknown or of another type.
        """
        expected = self.specification["root"].get("inputDefinitions", {}).get("parameters", {})
        for name in sorted(set(parameters) - set(expected)):
            raise ParameterError(f"{name}: the compiled pipeline has no such parameter; it has {', '.join(expected)}")
        for name, definition in expected.items():
            _check_parameter(name, definition, parameters)


def compile_package(images: ImageNames, profile: str | None) -> Package:
    """Compiles the pipeline as `compile` does.

    Raises:
        ConfigError: There is no such profile, or it is wrong.
    """
    with scratch_folder("package") as folder:
        file = Path(folder, "pipeline.yaml")
        compile_pipeline(file, images, profile)
        return Package(file.read_bytes())


def _check_parameter(name: str, definition: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    kind = definition["parameterType"]
    if name not in parameters:
        if definition.get("isOptional"):
            return
        raise ParameterError(f"{name}: missing; the compiled pipeline expects a {kind}")
    value = parameters[name]
    if not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "BOOLEAN"):
        raise ParameterError(f"{name}: expected a {kind}, got {value!r}")
