"""What the guide tells to type is there: files, targets of make, subcommands and their options."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from pipelines.__main__ import app

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
MADE = {"mine.yaml", "deploy/secrets.yaml"}
"""Files that the guide's own commands make."""


def list_commands() -> list[list[str]]:
    """Lines of the code blocks, continued ones joined, comments removed, as words."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    text = "\n".join(block for language, block in blocks if not language).replace("\\\n", " ")
    return [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]


def test_every_file_that_is_named_is_there() -> None:
    named = re.findall(r"(?:deploy|images|pipelines|tests|docs)/[\w./-]*\w", GUIDE)
    assert {"deploy/overlays/kind", "images/Dockerfile", "deploy/secrets.template.yaml"} <= set(named)
    assert [path for path in named if path not in MADE and not (ROOT / path).exists()] == []
    assert [page for page in re.findall(r"\]\((\w+\.md)\)", GUIDE) if not (ROOT / "docs" / page).is_file()] == []


def test_every_target_of_make_is_there() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {words[1] for words in list_commands() if words[0] == "make"}
    assert used
    assert used <= targets


@pytest.mark.parametrize(
    "words", [words for words in list_commands() if words[:3] == ["python", "-m", "pipelines"]], ids=" ".join
)
def test_every_subcommand_and_option_is_there(words: list[str]) -> None:
    command = get_command(app)
    arguments = words[3:]
    while arguments and arguments[0] in getattr(command, "commands", {}):
        command = command.commands[arguments.pop(0)]
    assert not hasattr(command, "commands"), f"no subcommand {arguments[:1]}"
    known = {option for parameter in command.params for option in parameter.opts}
    assert [word for word in arguments if word.startswith("-") and word not in known] == []
