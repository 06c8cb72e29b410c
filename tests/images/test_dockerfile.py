"""What goes into the images, read from their files."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_IN_IMAGES = {"cronsim", "kfp-kubernetes"}  # schedule and compile pipelines; tasks do not need them
FOR_SERVERS = {"psycopg2-binary"}  # `mlflow server` runs in train-cpu, and may keep its tables in PostgreSQL


def list_names(file: str) -> set[str]:
    return set((ROOT / "images" / file).read_text().split())


def test_the_two_lists_are_what_the_project_depends_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[<>=\[;]", line)[0].strip() for line in project["dependencies"]}
    assert not list_names("slim.txt") & list_names("train.txt")
    assert list_names("slim.txt") | list_names("train.txt") == names - NOT_IN_IMAGES | FOR_SERVERS


def test_everything_installed_is_checked_against_a_hash_but_torch_and_the_package() -> None:
    installs = re.findall(r"pip install (.*?)(?: \\| &&|$)", (ROOT / "images/Dockerfile").read_text(), re.M)
    tools = "-q --no-deps --require-hashes -r /opt/build.lock"
    hashed = [f"-q --no-deps --require-hashes --no-build-isolation -r /opt/{name}.lock" for name in ("slim", "train")]
    package, torch = (
        "-q --no-deps --no-build-isolation --target /opt/ur4rec .",
        "-q ${TORCH_ARGS} -r /opt/requirements-torch.lock",
    )
    assert sorted(installs) == sorted([tools, tools, *hashed, package, torch])


@pytest.mark.parametrize("target", ["slim", "train-cpu"])
def test_images_do_not_run_as_root(target: str) -> None:
    (stage,) = re.findall(
        rf"^FROM \S+ AS {target}\n(.*?)(?=^FROM|\Z)", (ROOT / "images/Dockerfile").read_text(), re.M | re.S
    )
    assert "USER 10001:10001" in stage
    assert "org.opencontainers.image.revision" in stage


def test_no_host_is_named() -> None:
    for file in (ROOT / "images").iterdir():
        assert not re.search(r"https?://|\b\w+\.(com|org|io|net)\b", file.read_text()), file
