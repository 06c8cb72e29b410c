"""What is installed is what was locked: versions, hashes, and a file that was altered on its way."""

import hashlib
import os
import re
import subprocess
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HASHED = [
    "requirements.lock",
    "benchmarks/requirements.txt",
    *(f"images/{name}.lock" for name in ("build", "slim", "train")),
]
Locked = dict[str, tuple[str, frozenset[str]]]


def normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(file: str) -> Locked:
    """Name → version and hashes; fails on a line of any other form."""
    text = (ROOT / file).read_text().replace("\\\n", " ")
    locked: Locked = {}
    for line in text.splitlines():
        found = re.fullmatch(r"([\w.-]+)==(\S+)( ; [^#]*?)?((?: +--hash=sha256:[0-9a-f]{64})+) *", line)
        assert found, line
        locked[normalize(found[1])] = found[2], frozenset(re.findall(r"sha256:\w+", found[4]))
    return locked


def read_names(requirements: list[str]) -> set[str]:
    return {normalize(re.split(r"[<>=\[; ]", line)[0]) for line in requirements}


@pytest.mark.parametrize("file", HASHED)
def test_every_line_has_a_version_and_hashes_and_no_host_is_named(file: str) -> None:
    assert "torch" not in read_lock(file)
    assert "://" not in (ROOT / file).read_text()


def test_torch_alone_is_exempt() -> None:
    lines = (ROOT / "requirements-torch.lock").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["torch==2.13.0"]


def test_what_the_project_asks_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    asked = [requirement for group in groups for requirement in group]
    assert read_names(asked) - {"torch"} <= set(read_lock("requirements.lock"))
    (backend,) = project["build-system"]["requires"]
    for file in ("requirements.lock", "images/build.lock"):
        assert backend == f"setuptools=={read_lock(file)['setuptools'][0]}"


@pytest.mark.parametrize("image", ["slim", "train"])
def test_images_have_the_versions_and_hashes_of_the_environment(image: str) -> None:
    locked, all_locked = read_lock(f"images/{image}.lock"), read_lock("requirements.lock")
    assert locked.items() <= all_locked.items()
    asked = read_names((ROOT / f"images/{image}.txt").read_text().split()) - {"torch"}
    assert asked <= set(locked)


def make_wheel(folder: Path) -> Path:
    wheel = folder / "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("toy.py", "")
        file.writestr("toy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
        file.writestr("toy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("toy-1.0.dist-info/RECORD", "")
    return wheel


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder, with_pip=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("altered", "outcome"), [(False, 0), (True, 1)])
def test_make_refuses_a_file_that_was_altered_on_its_way(
    environment: Path, tmp_path: Path, altered: bool, outcome: int
) -> None:
    """The very line of the Makefile, on a lock of one small package that lies in a folder."""
    command = ["make", "-n", "-C", str(ROOT), f"VENV={environment}/none", f"{environment}/none/installed"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in printed.splitlines() if line.endswith("-r requirements.lock")]
    wheel = make_wheel(tmp_path)
    (tmp_path / "requirements.lock").write_text(
        f"toy==1.0 \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    )
    if altered:
        with zipfile.ZipFile(wheel, "a") as file:
            file.writestr("more.py", "")
    offline = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "PATH": os.environ["PATH"],
    }
    installed = subprocess.run(
        line.replace("/none/", "/") + f" --target {tmp_path}/target",
        shell=True, cwd=tmp_path, env=offline, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert installed.returncode == outcome, installed.stderr
    assert ("DO NOT MATCH THE HASHES" in installed.stderr) == altered
    assert (tmp_path / "target/toy.py").exists() != altered
