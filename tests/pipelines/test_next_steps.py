from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pipelines.next_steps import describe_version, name_program, recommend_command
from ur4rec.registry.register import Registration

REGISTRATION = Registration(
    name="ur4rec",
    version="3",
    alias="challenger",
    run_id="r",
    model_uri="models:/ur4rec/3",
    tracking_uri="sqlite:////x/mlflow.db",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an environment's programs, which is not on the PATH."""
    folder = tmp_path / "my env" / "bin"
    folder.mkdir(parents=True)
    (folder / "toy-program").write_text("#!/bin/sh\n")
    (folder / "toy-program").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    return folder


def test_a_program_off_the_path_is_named_by_its_path(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert name_program("toy-program") == f"'{folder}/toy-program'"
    monkeypatch.chdir(tmp_path)
    assert name_program("toy-program") == "'my env/bin/toy-program'"


def test_a_program_that_the_shell_finds_keeps_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    assert name_program("toy-program") == "toy-program"
    assert name_program("not-installed") == "not-installed"


def test_another_program_of_the_same_name_is_not_meant(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy-program").write_text("#!/bin/sh\n")
    (tmp_path / "toy-program").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert name_program("toy-program") == f"'{folder}/toy-program'"


@pytest.mark.parametrize(
    ("is_new", "words", "model"),
    [
        (True, "ur4rec version 3, alias challenger", "models:/ur4rec@challenger"),
        (False, "ur4rec version 3, registered in an earlier run", "models:/ur4rec/3"),
    ],
)
def test_an_earlier_registration_is_asked_by_its_version(is_new: bool, words: str, model: str) -> None:
    assert describe_version(REGISTRATION, is_new) == words
    assert recommend_command(REGISTRATION, is_new, "user 0").endswith(f" recommend --user 'user 0' --model {model}")
