"""What a help text says is what its source says: no bracket is taken for markup."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from pipelines.__main__ import app as pipelines
from ur4rec.cli import app as ur4rec
from ur4rec.scripts.train_v2 import app as script

runner = CliRunner(env={"COLUMNS": "2000", "TERMINAL_WIDTH": "2000", "TERM": "dumb", "NO_COLOR": "1"})


def list_commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from list_commands(inner, (*path, name))


def flatten(printed: str) -> str:
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", printed).split())


def as_printed(source: str) -> str:
    """Without style tags, and with escaped brackets as brackets."""
    return flatten(re.sub(r"(?<!\\)\[/?bold\]", "", source).replace("\\[", "["))


@pytest.mark.parametrize(
    ("application", "path"),
    [
        pytest.param(application, path, id=" ".join([name, *path]))
        for name, application in {"ur4rec": ur4rec, "pipelines": pipelines, "script": script}.items()
        for path, _ in list_commands(get_command(application))
    ],
)
def test_every_word_of_a_help_text_is_printed(application: typer.Typer, path: tuple[str, ...]) -> None:
    printed = flatten(runner.invoke(application, [*path, "--help"]).output)
    command = dict(list_commands(get_command(application)))[path]
    sources = [command.help or "", *(getattr(parameter, "help", None) or "" for parameter in command.params)]
    for paragraph in (part for source in sources for part in source.split("\n\n")):
        assert as_printed(paragraph) in printed


def test_the_legacy_format_is_told_with_its_brackets() -> None:
    for path in (["data"], ["data", "import-legacy"]):
        assert "({user: [items]})" in flatten(runner.invoke(ur4rec, [*path, "--help"]).output)


def test_the_command_line_points_to_the_examples() -> None:
    printed = flatten(runner.invoke(ur4rec, ["--help"]).output)
    assert "Every command prints its own examples: ur4rec COMMAND --help." in printed
