"""What the guide tells to type is there: files, targets of make, images, services, subcommands and their options."""

import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.core import TyperGroup
from typer.main import get_command

from components.image import SLIM, TRAIN
from pipelines.__main__ import app
from ur4rec.cli import app as library

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
MADE = {"mine.yaml", "kind.yaml", "deploy/secrets.yaml"}
"""Files that the guide's own commands make."""
GCS_SECRET = "ur4rec-gcs"  # its name


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


def list_manifests() -> list[dict[str, Any]]:
    files = [file for file in (ROOT / "deploy/base").glob("*.yaml") if file.name != "kustomization.yaml"]
    return [manifest for file in files for manifest in yaml.safe_load_all(file.read_text(encoding="utf-8"))]


def test_images_are_those_that_are_built_and_run() -> None:
    (loaded,) = [words[3:] for words in list_commands() if words[:2] == ["kind", "load"]]
    assert loaded == [SLIM, TRAIN]


def test_deployments_services_and_accounts_are_those_of_the_manifests() -> None:
    manifests = {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in list_manifests()}
    used = {
        tuple(word.split("/")) for words in list_commands() for word in words if re.match("(deployment|service)/", word)
    }
    assert {name for kind, name in used if kind == "deployment"} == {"ur4rec-mlflow", "ur4rec-serving"}
    assert {("Deployment", name) for kind, name in used if kind == "deployment"} <= set(manifests)
    assert {name for kind, name in used if kind == "service"} == {"ur4rec-mlflow", "ml-pipeline-ui"}
    (submitted,) = [words for words in list_commands() if words[3:4] == ["submit"]]
    options = dict(pairwise(submitted))
    assert ("ServiceAccount", options["--service-account"]) in manifests
    (port,) = manifests["Service", "ur4rec-mlflow"]["spec"]["ports"]
    assert options["--tracking-uri"] == f"http://ur4rec-mlflow:{port['port']}"
    assert f"gcs_key_secret: {GCS_SECRET}" in GUIDE
    secrets = yaml.safe_load_all((ROOT / "deploy/secrets.template.yaml").read_text(encoding="utf-8"))
    assert GCS_SECRET in {secret["metadata"]["name"] for secret in secrets}


def is_ours(words: list[str]) -> bool:
    return words[:3] == ["python", "-m", "pipelines"] or words[0] == "ur4rec"


@pytest.mark.parametrize("words", [words for words in list_commands() if is_ours(words)], ids=" ".join)
def test_every_subcommand_and_option_is_there(words: list[str]) -> None:
    command = get_command(library if words[0] == "ur4rec" else app)
    arguments = words[1:] if words[0] == "ur4rec" else words[3:]
    while isinstance(command, TyperGroup) and arguments and arguments[0] in command.commands:
        command = command.commands[arguments.pop(0)]
    assert not isinstance(command, TyperGroup), f"no subcommand {arguments[:1]}"
    known = {option for parameter in command.params for option in parameter.opts}
    assert [word for word in arguments if word.startswith("-") and word not in known] == []
