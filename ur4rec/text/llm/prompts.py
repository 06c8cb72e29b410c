"""Prompts as versioned files: read, checked and rendered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from jinja2 import StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ur4rec.config_section import parse_yaml
from ur4rec.text.llm.chat import Messages
from ur4rec.text.llm.histories import describe_item, describe_user
from ur4rec.text.llm.languages import LANGUAGES
from ur4rec.text.requests import ItemRequest, UserRequest

Subject = Literal["item", "user"]

DATA_VARIABLE: dict[Subject, str] = {"item": "item", "user": "history"}
"""The variable that holds everything a prompt may say of its subject, cleaned and between the marks."""
LANGUAGE_VARIABLE = "language"

_SHIPPED = files("ur4rec.text.llm") / "prompt_files"
_ENVIRONMENT = SandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
_EXAMPLE = ItemRequest("0", "Example", 2000, ("Drama",), "An example.")


class PromptError(ValueError):
    """A prompt file that cannot be used; names the file and the key."""


class AnswerLimits(BaseModel):
    """What an answer must keep to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_sentences: int = Field(ge=1, le=20)
    """Of each list of a user answer, of the description of an item."""
    min_characters: int = Field(ge=1)
    """Of the whole text."""
    max_characters: int = Field(ge=20)
    """Of each sentence of a user answer, of the description of an item."""


class PromptFile(BaseModel):
    """A prompt file as it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    version: int = Field(ge=1)
    subject: Subject
    language: str
    variables: dict[str, str]
    """Variable → what it holds."""
    system: str = Field(min_length=1)
    user: str = Field(min_length=1)
    max_tokens: int = Field(ge=16, le=8192)
    """Longest answer; what lies beyond is cut off by the provider."""
    typical_tokens: int = Field(ge=1)
    """Usual length of an answer, for estimates only."""
    answer: AnswerLimits

    @model_validator(mode="after")
    def _check(self) -> PromptFile:
        if self.language not in LANGUAGES:
            raise ValueError(f"language: {self.language!r} is not one of {', '.join(LANGUAGES)}")
        if "json" not in f"{self.system} {self.user}".lower():
            raise ValueError("system: must ask for JSON by that word; providers refuse the JSON mode without it")
        if self.typical_tokens > self.max_tokens:
            raise ValueError(f"typical_tokens: {self.typical_tokens} is above max_tokens, {self.max_tokens}")
        return self


@dataclass(frozen=True)
class Prompt:
    """A prompt that is ready to be rendered.

    Args:
        file: What the file says.
        version: `<name>.v<N>+<first 12 hexadecimal digits of the sha256 of the file>`.
        templates: Role and template of each message; a text where it says nothing of the subject.
    """

    file: PromptFile
    version: str
    templates: tuple[tuple[str, Template | str], ...]

    @property
    def max_tokens(self) -> int:
        """Longest answer, in tokens."""
        return self.file.max_tokens

    def render(self, request: ItemRequest | UserRequest) -> Messages:
        """The messages about an item or a user: a pure function of the request and the file."""
        values = {
            DATA_VARIABLE[self.file.subject]: _describe(request, self.file.subject),
            LANGUAGE_VARIABLE: LANGUAGES[self.file.language].name,
        }
        return tuple(
            (role, template if isinstance(template, str) else template.render(values).strip())
            for role, template in self.templates
        )


def load_prompt(name_or_path: str) -> Prompt:
    """Loads a shipped prompt by name and version, or a file of one's own.

    Args:
        name_or_path: `user_preferences.v1`, say, or a path that ends with `.yaml` or `.yml`.

    Raises:
        PromptError: There is no such prompt, or the file is no valid prompt; names the file and the key.
    """
    content = _read(name_or_path)
    try:
        file = PromptFile.model_validate(_parse_yaml(name_or_path, content))
    except ValidationError as error:
        raise PromptError(f"{name_or_path}: {_describe_error(error)}") from None
    templates = tuple(
        (role, _compile(f"{name_or_path}: {role}", source, file))
        for role, source in (("system", file.system), ("user", file.user))
    )
    _check_variables(name_or_path, file)
    version = f"{file.name}.v{file.version}+{hashlib.sha256(content).hexdigest()[:12]}"
    prompt = Prompt(file, version, templates)
    _try(name_or_path, prompt)
    return prompt


def _describe(request: ItemRequest | UserRequest, subject: Subject) -> str:
    match subject, request:
        case "item", ItemRequest():
            return describe_item(request)
        case "user", UserRequest():
            return describe_user(request)
    raise TypeError(f"a prompt about one {subject} cannot be rendered from a {type(request).__name__}")


def _read(name_or_path: str) -> bytes:
    if not name_or_path.endswith((".yaml", ".yml")):
        return _read_shipped(name_or_path)
    try:
        return Path(name_or_path).read_bytes()
    except OSError as error:
        raise PromptError(f"{name_or_path}: cannot be read: {error.strerror}") from None


def _read_shipped(name: str) -> bytes:
    names = sorted(entry.name.removesuffix(".yaml") for entry in _SHIPPED.iterdir() if entry.name.endswith(".yaml"))
    if name not in names:
        raise PromptError(f"{name}: no such prompt; expected {', '.join(names)} or the path of a .yaml file")
    return (_SHIPPED / f"{name}.yaml").read_bytes()


def _parse_yaml(place: str, content: bytes) -> dict[str, Any]:
    try:
        parsed = parse_yaml(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise PromptError(f"{place}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except yaml.YAMLError as error:
        raise PromptError(f"{place}: malformed YAML: {' '.join(str(error).split())}") from None
    if not isinstance(parsed, dict):
        raise PromptError(f"{place}: expected keys and values, found a {type(parsed).__name__}")
    return parsed


def _describe_error(error: ValidationError) -> str:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        known = AnswerLimits if len(first["loc"]) > 1 else PromptFile
        message = f"unknown key; expected {', '.join(known.model_fields)}"
    return f"{key}: {message}" if key else message


def _compile(place: str, source: str, file: PromptFile) -> Template | str:
    """A template, or its text where that is the same for every subject."""
    try:
        used = meta.find_undeclared_variables(_ENVIRONMENT.parse(source))
        template = _ENVIRONMENT.from_string(source)
        template.globals = dict(template.globals)  # copied at every prompt, and a chain of maps takes long
    except TemplateError as error:
        raise PromptError(f"{place}: malformed template: {error}") from None
    _check_known(place, sorted(used), file.subject)
    undeclared = sorted(used - set(file.variables))
    if undeclared:
        raise PromptError(f"{place}: {{{{ {undeclared[0]} }}}} is not among the file's variables; declare it there")
    return template if DATA_VARIABLE[file.subject] in used else _render_once(place, template, file)


def _render_once(place: str, template: Template, file: PromptFile) -> str:
    with _explaining(place):
        return template.render({LANGUAGE_VARIABLE: LANGUAGES[file.language].name}).strip()


def _check_variables(place: str, file: PromptFile) -> None:
    data = DATA_VARIABLE[file.subject]
    _check_known(f"{place}: variables", file.variables, file.subject)
    if data not in meta.find_undeclared_variables(_ENVIRONMENT.parse(file.user)):
        raise PromptError(f"{place}: user: {{{{ {data} }}}} does not occur; without it the prompt says nothing")


def _check_known(place: str, names: Iterable[str], subject: Subject) -> None:
    known = (DATA_VARIABLE[subject], LANGUAGE_VARIABLE)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise PromptError(f"{place}: {unknown[0]!r} does not exist; a prompt has {' and '.join(known)}")


def _try(place: str, prompt: Prompt) -> None:
    """Renders an example, so that a template that fails does so before any call."""
    example = _EXAMPLE if prompt.file.subject == "item" else UserRequest("0", [_EXAMPLE], [0])
    with _explaining(place):
        prompt.render(example)


@contextmanager
def _explaining(place: str) -> Iterator[None]:
    try:
        yield
    except (TemplateError, TypeError, ValueError, OverflowError) as error:
        raise PromptError(f"{place}: the template cannot be rendered: {error}") from None
