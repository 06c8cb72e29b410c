"""Settings in YAML files and on command lines, before anything validates them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ur4rec.config_section import ConfigError


def read_settings(path: Path) -> dict[str, Any]:
    """Keys and values of a YAML file; none for an empty one.

    Raises:
        ConfigError: The file cannot be read, or holds something else.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from None
    if not isinstance(values, dict | None):
        raise ConfigError(f"{path}: expected keys and values, found {type(values).__name__}")
    return values or {}


def locate_shipped(name: Path | str, folder: Path) -> Path:
    """A file at a path, else the shipped one of that name in a folder of ours.

    Raises:
        ConfigError: There is neither; names the shipped ones.
    """
    for path in (Path(name), folder / f"{name}.yaml"):
        if path.is_file():
            return path
    names = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
    raise ConfigError(f"{name}: no such file; expected a YAML file or one of the shipped {names}")


def parse_setting(key: str, value: Any) -> Any:
    """A value, read as YAML where it is text.

    Raises:
        ConfigError: It cannot be read; names the key.
    """
    try:
        return yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError as error:
        raise ConfigError(f"{key}: {value!r} cannot be read as YAML: {error}") from None
