"""Base of every group of configuration fields."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from enum import EnumType
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Self, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

LARGEST_WHOLE = 2**53 - 1
"""The pipeline carries every number as a double, in which a larger one would lose digits."""
UNWRITABLE = re.compile("[\x00\ud800-\udfff]")
"""The null character, and what is half of a character."""

SINGLE = {bool, int, float, str, NoneType}

Section = TypeVar("Section", bound="ConfigSection")
Value = TypeVar("Value")

AUTO = "auto"
"""Value of a setting that is left to the data."""
FromData = Annotated[Value, AUTO]
"""Type of a setting that may be left to the data; it has its default until they are there."""


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
    _left: frozenset[str] = PrivateAttr(default=frozenset())
    _reasons: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def left_to_data(self) -> frozenset[str]:
        """Settings that the data have yet to decide; `ur4rec.auto` asks them."""
        return self._left

    @property
    def reasons(self) -> dict[str, str]:
        """Setting that the data have decided → why."""
        return self._reasons

    @model_validator(mode="wrap")
    @classmethod
    def _leave_to_data(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(values, Mapping):
            return handler(values)
        left = frozenset(name for name, field in cls.model_fields.items() if _is_left(values.get(name), field.metadata))
        section = handler({name: value for name, value in values.items() if name not in left})
        section._left = left
        return section

    @field_validator("*", mode="before")
    @classmethod
    def _suits_its_field(cls, value: Any, info: ValidationInfo) -> Any:
        """Take names in any case, and refuse a list for one value, or true for a number, which Pydantic takes for 1."""
        annotation: Any = cls.model_fields[str(info.field_name)].annotation
        names, kinds = _list_names(annotation), {annotation, *get_args(annotation)}
        if isinstance(value, bool) and bool not in kinds and kinds & {int, float}:
            raise ValueError("expected a number")
        if not isinstance(value, list | tuple):
            return _spell(value, names)
        if _holds_one_value(annotation):
            raise ValueError("expected one value; a list of values to try goes into a file for `ur4rec tune --space`")
        return [_spell(part, names) for part in value]

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
        """Validate `values`.

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
        """Return the fields of one group, as an object of that group."""
        values = {name: AUTO if name in self._left else getattr(self, name) for name in section.model_fields}
        narrowed = section.model_validate(values)
        narrowed._reasons = {name: reason for name, reason in self._reasons.items() if name in values}
        return narrowed

    def settle(self, values: Mapping[str, Any], reasons: Mapping[str, str]) -> Self:
        """Return the configuration with values for what is left to the data.

        Raises:
            ConfigError: A value does not go with the settings that are given.
        """
        settled = self.parse(self.to_dict() | {name: values[name] for name in self._left}, "settings from the data")
        settled._reasons = self._reasons | {name: reasons[name] for name in sorted(self._left)}
        return settled

    def to_dict(self, only_set: bool = False) -> dict[str, Any]:
        """Return plain JSON values, in the order of declaration; `only_set` leaves the defaults out."""
        return self.model_dump(mode="json", exclude_unset=only_set) | dict.fromkeys(sorted(self._left), AUTO)

    def list_changes(self) -> dict[str, Any]:
        """Return the values that differ from the defaults, and what is left to the data, as plain JSON."""
        return self.model_dump(mode="json", exclude_defaults=True) | dict.fromkeys(sorted(self._left), AUTO)

    def digest(self) -> str:
        """Return the sha256 over the values, independent of the order of declaration."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()


def _is_left(value: Any, metadata: list[Any]) -> bool:
    return isinstance(value, str) and value == AUTO and AUTO in metadata


@cache
def _list_names(annotation: Any) -> dict[str, str]:
    """Return the names that a field may hold, by what they are when case does not count."""
    if isinstance(annotation, str):
        return {annotation.casefold(): annotation}
    parts = tuple(annotation) if isinstance(annotation, EnumType) else get_args(annotation)
    return {folded: name for part in parts for folded, name in _list_names(part).items()}


@cache
def _holds_one_value(annotation: Any) -> bool:
    """Return whether a field takes a number, a name or text, and nothing that several of them make up."""
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return all(kind in SINGLE or isinstance(kind, EnumType) or get_origin(kind) is Literal for kind in kinds)


def _spell(value: Any, names: Mapping[str, str]) -> Any:
    return names.get(value.casefold(), value) if isinstance(value, str) else value


def _explain(problem: ErrorDetails) -> str:
    if not problem["loc"]:  # a rule of ours over several keys, which names them
        return problem["msg"].removeprefix("Value error, ")
    message = problem["msg"].removeprefix("Value error, ")
    got = "" if isinstance(problem["input"], Mapping) else f", got {problem['input']!r}"  # it may hold a secret
    return f"{'.'.join(map(str, problem['loc']))}: {message}{got}"


MAX_DEPTH = 50
MAX_VALUES = 100_000
LONGEST_SHOWN = 80


class DuplicateKeyError(yaml.YAMLError):
    """A key that stands twice in the same mapping; says where."""


class TooLargeError(yaml.YAMLError):
    """A document that is nested too deeply, or grows too large where its aliases stand for what they name."""


class _CheckedLoader(yaml.SafeLoader):
    """Refuses what YAML forbids and `SafeLoader` lets pass: of a key given twice it would take the last value.

    And it refuses, before anything is built, what nobody writes by hand and what would not be read in reasonable time.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth, self._num_values = 0, 0
        self._sizes: dict[str, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Count values, and again those that an alias stands for."""
        event, before = self.peek_event(), self._num_values  # type: ignore[no-untyped-call]
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TooLargeError(f"nested more than {MAX_DEPTH} deep, line {event.start_mark.line + 1}")
        node = super().compose_node(parent, index)
        self._depth -= 1
        is_alias = isinstance(event, yaml.AliasEvent)
        if is_alias and event.anchor not in self._sizes:
            raise TooLargeError(f"*{event.anchor} is an alias of what it is part of, line {event.start_mark.line + 1}")
        self._num_values += self._sizes[event.anchor] if is_alias else 1
        if self._num_values > MAX_VALUES:
            raise TooLargeError(f"more than {MAX_VALUES:,} values, those counted that aliases (*name) stand for")
        if event.anchor:
            self._sizes[event.anchor] = self._num_values - before
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, object], int] = {}
        for key, _ in node.value:
            line, name = key.start_mark.line + 1, (key.tag, str(key.value))
            if name in lines:
                raise DuplicateKeyError(
                    f"{key.value}: given in line {lines[name]} and again in line {line}; keep one of them"
                )
            lines[name] = line
        return node


def parse_yaml(text: str) -> Any:
    """Return what a YAML document of a user says; every such document is read here.

    Raises:
        yaml.YAMLError: It is malformed, nested too deeply or too large, or a key is given twice.
    """
    try:
        return yaml.load(text, _CheckedLoader)  # noqa: S506 - a SafeLoader
    except ValueError as error:  # of a date that there is not, or a number of thousands of digits
        raise yaml.YAMLError(str(error)) from None


def read_settings(path: Path) -> dict[str, Any]:
    """Read keys and values of a YAML file; none for an empty one.

    Raises:
        ConfigError: The file cannot be read, or holds something else.
    """
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from None
    if not isinstance(values, dict | None):
        raise ConfigError(f"{path}: expected keys and values, found {type(values).__name__}")
    return values or {}


def locate_shipped(name: Path | str, folder: Path) -> Path:
    """Return the file at a path, else the shipped one of that name in a folder of ours.

    Raises:
        ConfigError: There is neither; names the shipped ones.
    """
    for path in (Path(name), folder / f"{name}.yaml"):
        if path.is_file():
            return path
    names = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
    raise ConfigError(f"{name}: no such file; expected a YAML file or one of the shipped {names}")


def parse_setting(key: str, value: Any, expects_text: bool = False) -> Any:
    """Return a value, read as YAML where it is text.

    Args:
        key: Name of the setting.
        value: As it was given.
        expects_text: Whether nothing but text will do, which YAML may take for a list, a number or a comment.

    Raises:
        ConfigError: It cannot be read, or is read as something else; names the key and how to quote the value.
    """
    if not isinstance(value, str):
        return value
    try:
        parsed = parse_yaml(value)
        found = "what is behind # would be lost" if _ends_in_comment(value, parsed) else ""
    except yaml.YAMLError as error:
        found = f"cannot be read as YAML: {' '.join(str(error).split())}"
    else:
        if expects_text and not found and not isinstance(parsed, str):
            found = f"is read as {parsed!r}, expected text"
    if found:
        quoted = quote_setting(key, value if len(value) <= LONGEST_SHOWN else "…")
        raise ConfigError(f"{key}: {value!r:.{LONGEST_SHOWN}} {found}; text goes in quotes: --set {quoted}")
    return parsed


def _ends_in_comment(value: str, parsed: Any) -> bool:
    """Return whether what stands at the end of a value is not read."""
    with suppress(yaml.YAMLError):
        return "#" in value and bool(value.strip()) and parse_yaml(f"{value}x") == parsed
    return False


def quote_value(text: str) -> str:
    """Return text as a value that YAML reads as this text."""
    return json.dumps(text, ensure_ascii=False)


def quote_setting(key: str, value: str) -> str:
    """Return `KEY=VALUE` for the shell, the value being text."""
    return shlex.quote(f"{key}={quote_value(value)}")
