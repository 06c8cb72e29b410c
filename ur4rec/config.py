"""The whole configuration: one flat YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ur4rec.config_section import locate_shipped, parse_setting, read_settings
from ur4rec.registry.run_settings import Config as Config

CONFIGS = Path(__file__).parent / "configs"
SHIPPED = CONFIGS / "ur4rec_moe_100k.yaml"
AUTO_CONFIG = "auto"
"""Shipped configuration that leaves to the data what depends on them."""


def load_config(path: Path | str | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read and validate a configuration.

    Args:
        path: A YAML file, or the name of a shipped one such as `toy`; None for the defaults.
        overrides: Keys that replace those of the file; text values are read as YAML.

    Raises:
        ConfigError: The file cannot be read, or a key or value is wrong; names the file and the key.
    """
    values = {} if path is None else read_settings(locate_shipped(path, CONFIGS))
    config = Config.parse(values, str(path))
    if not overrides:
        return config
    return override_values(values, overrides, "settings" if path is None else f"settings over {path}")


def override_values(values: Mapping[str, Any], overrides: Mapping[str, Any], source: str) -> Config:
    """Return the configuration of `values` with some replaced; texts among the `overrides` are read as YAML.

    Raises:
        ConfigError: A key or value is wrong; begins with `source`.
    """
    parsed = {key: parse_setting(key, value, _expects_text(key)) for key, value in overrides.items()}
    return Config.parse({**values, **parsed}, source)


def _expects_text(key: str) -> bool:
    """Return whether text and nothing else is a value of a setting."""
    return key in Config.model_fields and Config.model_fields[key].annotation is str
