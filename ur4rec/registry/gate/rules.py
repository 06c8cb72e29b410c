"""The gate's rules: one flat YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ur4rec.config_section import ConfigSection, parse_setting, read_settings

SHIPPED = Path(__file__).parents[2] / "configs" / "registry" / "gate.yaml"

Share = Annotated[float, Field(ge=0, lt=1)]
Level = Annotated[float, Field(gt=0, lt=0.5)]
UserCount = Annotated[int, Field(ge=0)]


class GateRules(ConfigSection):
    """What a challenger must be; the shipped file gives every key its value and its reason."""

    test_digest: str | None
    """Content digest that the test sequences must have; None: any, it is only recorded."""
    min_users: int = Field(ge=1)
    few_later_users: Literal["unseen", "floor_only", "fail"]
    champion_unscorable: Literal["floor_only", "fail"]
    anchor_unscorable: Literal["skip", "fail"]

    floor_ndcg_at_10: float = Field(ge=0, le=1)
    floor_times_popularity: float = Field(ge=0)

    level: Level
    margin_by_users: dict[UserCount, Share] = Field(min_length=1)
    """Compared users, from this number on → relative loss of NDCG@10 that is put up with."""
    bootstrap_samples: int = Field(ge=1000, le=2**20)

    slice_margin: Share
    slice_level: Level
    min_slice_users: int = Field(ge=1)

    min_coverage_ratio: float = Field(ge=0)
    max_popularity_rise: float = Field(ge=0, le=1)

    latency_requests: int = Field(ge=1)
    max_latency_ms: float = Field(gt=0)
    max_latency_ratio: float = Field(ge=1)
    max_size_mb: float = Field(gt=0)
    max_size_ratio: float = Field(ge=1)

    @model_validator(mode="after")
    def _check_margins(self) -> Self:
        if 0 not in self.margin_by_users:
            raise ValueError("margin_by_users: expected a margin from 0 users on, for example 0: 0.1")
        return self

    def margin(self, num_users: int) -> float:
        """Return the relative loss that is put up with, for a comparison on so many users."""
        return self.margin_by_users[max(users for users in self.margin_by_users if users <= num_users)]


def load_rules(
    path: Path | None = None, overrides: Mapping[str, Any] | None = None, source: str = "settings"
) -> GateRules:
    """Load the shipped rules, with the keys replaced that a YAML file names, and then those of the caller.

    Text values of the caller are read as YAML; error messages start with where they come from, the source.

    Raises:
        ConfigError: The file cannot be read, or a key is unknown or its value wrong; names the nearest known key.
    """
    values = read_settings(SHIPPED)
    if path is not None:
        values |= read_settings(Path(path))
        GateRules.parse(values, str(path))
    return GateRules.parse(values | {key: _parse(key, value) for key, value in (overrides or {}).items()}, source)


def _parse(key: str, value: Any) -> Any:
    if key == "test_digest" and value != "null":
        return value  # hexadecimal, which YAML may take for a number
    return parse_setting(key, value)
