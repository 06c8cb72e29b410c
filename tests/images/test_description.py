"""What `make images` says of an image: a bill of materials of its distributions, and what it was built from."""

import hashlib
import importlib.metadata
import importlib.util
import io
import json
import os
import re
import subprocess
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from components.image import SLIM

ROOT = Path(__file__).parents[2]
PLACE = "opt/venv/lib/python3.11/site-packages"
NAMES = ("rich", "markdown-it-py", "mdurl", "pygments")


@pytest.fixture(scope="module")
def description() -> ModuleType:
    spec = importlib.util.spec_from_file_location("describe_image", ROOT / ".ci/describe_image.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pack(names: tuple[str, ...]) -> bytes:
    """A tar of the distributions' own words, as an image gives them."""
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for name in names:
                files = importlib.metadata.files(name) or ()
                folder = Path(next(file for file in files if file.name == "METADATA").locate()).parent
                archive.add(folder, f"{PLACE}/{folder.name}")
        return file.getvalue()


@pytest.mark.slow
def test_the_bill_lists_what_is_installed_with_licences_and_dependencies(
    description: ModuleType, tmp_path: Path
) -> None:
    description.write_bill(pack(NAMES), tmp_path / "slim.cdx.json")
    bill = json.loads((tmp_path / "slim.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "ur4rec"
    components = {component["name"].lower(): component for component in bill["components"]}
    assert set(components) == set(NAMES)
    for name in NAMES:
        assert components[name]["version"] == importlib.metadata.version(name)
        assert components[name]["licenses"]
    depends = {entry["ref"]: entry.get("dependsOn", []) for entry in bill["dependencies"]}
    (rich,) = (parts for ref, parts in depends.items() if ref.startswith("rich"))
    assert {part.partition("==")[0].lower() for part in rich} == {"markdown-it-py", "pygments"}


def test_the_provenance_names_image_commit_base_and_lock_files(description: ModuleType) -> None:
    labels = {
        "org.opencontainers.image.base.name": "python:3.11-slim-bookworm",
        "org.opencontainers.image.revision": "c0ffee",
        "org.opencontainers.image.version": "0.1.0",
    }
    facts = {"Id": "sha256:" + "1" * 64, "Config": {"Labels": labels}}
    statement = description.state_provenance("ur4rec/python:0.1.0-slim", "slim", facts, {"Id": "2" * 64})
    assert statement["subject"] == [{"name": "ur4rec/python:0.1.0-slim", "digest": {"sha256": "1" * 64}}]
    materials = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    digests = {material["name"]: material["digest"] for material in materials}
    assert digests.pop("source") == {"gitCommit": "c0ffee"}
    assert digests.pop("python:3.11-slim-bookworm") == {"sha256": "2" * 64}
    assert set(digests) == {"images/Dockerfile", "images/build.lock", "images/slim.lock"}
    for name, digest in digests.items():
        assert digest == {"sha256": hashlib.sha256((ROOT / name).read_bytes()).hexdigest()}


def test_every_image_that_make_builds_is_described(description: ModuleType) -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "images/Dockerfile").read_text(), re.M)
    targets = {stage for stage in stages if not re.search("^(base|tools|package)$|-libraries$", stage)}
    assert set(description.INPUTS) == targets
    printed = subprocess.run(
        ["make", "-n", "images", "CONTAINERS=true"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert re.search(r"build .* \. *&& .*\.ci/describe_image\.py", printed.replace("\\\n", " "), re.S)


@pytest.mark.containers
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_built_image_is_described(client: Any, description: ModuleType, tmp_path: Path) -> None:
    engine = "podman" if "podman" in os.environ.get("DOCKER_HOST", "") else "docker"
    description.main(engine, SLIM, "slim", str(tmp_path))
    names = {part["name"].lower() for part in json.loads((tmp_path / "slim.cdx.json").read_text())["components"]}
    assert {"kfp", "pyarrow"} <= names
    assert not names & {"torch", "mlflow", "kubernetes", "pip"}
    statement = json.loads((tmp_path / "slim.provenance.json").read_text())
    (subject,) = statement["subject"]
    assert client.images.get(SLIM).id == f"sha256:{subject['digest']['sha256']}"
    assert "index-url" not in json.dumps(statement)
