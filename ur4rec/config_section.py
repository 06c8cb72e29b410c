"""Base of every group of configuration fields."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

LARGEST_WHOLE = 2**53 - 1
"""The pipeline carries every number as a double, in which a larger one would lose digits."""
UNWRITABLE = re.compile("[\x00\ud800-\udfff]")
"""The null character, and what is half of a character."""

Section = TypeVar("Section", bound="ConfigSection")


class ConfigError(ValueError):
    """A configuration that names an unknown key or holds a value out of range."""


class ConfigSection(BaseModel):
    """Frozen, validated group of fields that lives beside the code that reads it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        regex_engine="python-re",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_yes_or_no(cls, value: Any, info: ValidationInfo) -> Any:
        """Pydantic takes true for 1."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        kinds = {annotation, *get_args(annotation)}
        if isinstance(value, bool) and bool not in kinds and kinds & {int, float}:
            raise ValueError("expected a number")
        return value

    @field_validator("*")
    @classmethod
    def _can_be_handed_on(cls, value: Any) -> Any:
        if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
            raise ValueError(f"a whole number goes up to {LARGEST_WHOLE}, beyond which the pipeline would round it")
        if isinstance(value, str) and UNWRITABLE.search(value):
            raise ValueError("holds a character that files and databases do not take")
        return value

    @classmethod
    def parse(cls, values: Mapping[str, Any], source: str = "configuration") -> Self:
        """Validates `values`.

        Args:
            values: Keys and values, for example a parsed YAML file.
            source: What the values come from; error messages start with it.

        Raises:
            ConfigError: Names the key, what was expected and, for an unknown key, the nearest known one.
        """
        unknown = sorted(map(str, set(values) - set(cls.model_fields)))
        if unknown:
            raise ConfigError(f"{source}: " + "; ".join(cls._explain_unknown(key) for key in unknown))
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ConfigError(f"{source}: " + "; ".join(map(_explain, error.errors()))) from None

    @classmethod
    def _explain_unknown(cls, key: str) -> str:
        nearest = difflib.get_close_matches(key, cls.model_fields, n=1, cutoff=0.0)
        return f"unknown key {key!r}, did you mean {nearest[0]!r}?" if nearest else f"unknown key {key!r}"

    def narrow(self, section: type[Section]) -> Section:
        """The fields of one group, as an object of that group."""
        return section.model_validate({name: getattr(self, name) for name in section.model_fields})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, in the order of declaration."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """sha256 over the values, independent of the order of declaration."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()


def _explain(problem: ErrorDetails) -> str:
    if not problem["loc"]:  # a rule of ours over several keys, which names them
        return problem["msg"].removeprefix("Value error, ")
    message = problem["msg"].removeprefix("Value error, ")
    return f"{'.'.join(map(str, problem['loc']))}: {message}, got {problem['input']!r}"
