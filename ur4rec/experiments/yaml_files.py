"""Experiments are data: YAML files that a pydantic model validates."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from ur4rec.config_section import parse_yaml
from ur4rec.evaluation.results import explain_problems

Model = TypeVar("Model", bound=BaseModel)


class ExperimentError(ValueError):
    """An experiment that cannot be run as it is described; names the file, key or option."""


def read_yaml(path: Path, model: type[Model]) -> Model:
    """Reads and validates a file.

    Raises:
        ExperimentError: It cannot be read, or a key is missing, unknown or wrong; names the file and the key.
    """
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ExperimentError(f"{path}: cannot be read as YAML: {error}") from None
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ExperimentError(f"{path}: {explain_problems(error)}") from None
