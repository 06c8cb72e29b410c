"""Says of a built image what is in it (a bill of materials, CycloneDX) and what it was built from (SLSA provenance).

    python .ci/describe_image.py podman ur4rec/python:0.1.0-slim slim build

writes `build/slim.cdx.json` and `build/slim.provenance.json`. The bill lists what pip installed, read from the image
itself, with licences and dependencies; packages of the base image's distribution are not in it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import venv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
INSTALLED = "cd / && tar -c opt/venv/lib/python3*/site-packages/*.dist-info opt/ur4rec/*.dist-info"
LABEL = "org.opencontainers.image"
BUILD = ("images/Dockerfile", "images/build.lock")
TRAIN = (*BUILD, "images/train.lock", "requirements-torch.lock")
INPUTS = {"slim": (*BUILD, "images/slim.lock"), "train-cpu": TRAIN, "train-gpu": TRAIN}
"""Target → the files that say how it is built and from what."""


def main(containers: str, image: str, target: str, output: str) -> None:
    """Writes both files.

    Args:
        containers: `docker` or `podman`.
        image: Name of the image.
        target: Stage of `images/Dockerfile` that it is.
        output: Folder to write.
    """
    Path(output).mkdir(parents=True, exist_ok=True)
    archive = run(containers, "run", "--rm", "--entrypoint", "sh", image, "-c", INSTALLED)
    write_bill(archive, Path(output) / f"{target}.cdx.json")
    (facts,) = json.loads(run(containers, "image", "inspect", image))
    labels = facts["Config"]["Labels"]
    (base,) = json.loads(run(containers, "image", "inspect", labels[f"{LABEL}.base.name"]))
    statement = state_provenance(image, target, facts, base)
    (Path(output) / f"{target}.provenance.json").write_text(json.dumps(statement, indent=2) + "\n", encoding="utf-8")


def run(*command: str, stdin: bytes | None = None) -> bytes:
    """Output of a command."""
    return subprocess.run(command, input=stdin, stdout=subprocess.PIPE, check=True).stdout  # noqa: S603  # our own words


def write_bill(archive: bytes, file: Path) -> None:
    """The bill of materials of an environment.

    Args:
        archive: A tar of its `*.dist-info` folders.
        file: Where it goes.
    """
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(scratch, with_pip=False)
        (packages,) = Path(scratch).glob("lib/python3*/site-packages")
        run("tar", "-x", "-C", scratch, stdin=archive)
        for folder in Path(scratch).glob("opt/**/*.dist-info"):
            folder.rename(packages / folder.name)
        tool = str(Path(sys.executable).with_name("cyclonedx-py"))
        run(tool, "environment", "--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "application",
            "--output-reproducible", "-o", str(file), scratch)  # fmt: skip


def state_provenance(image: str, target: str, facts: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """An in-toto statement; arguments for pip are left out, for they may name an index and its password.

    Args:
        image: Name of the image.
        target: Stage of `images/Dockerfile`.
        facts: What the engine says of the image.
        base: The same of its base image.
    """
    labels = facts["Config"]["Labels"]
    materials = [{"name": name, "digest": {"sha256": hash_file(ROOT / name)}} for name in INPUTS[target]]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": image, "digest": {"sha256": facts["Id"].removeprefix("sha256:")}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "images/Dockerfile",
                "externalParameters": {"target": target, "version": labels[f"{LABEL}.version"]},
                "resolvedDependencies": [
                    {"name": "source", "digest": {"gitCommit": labels[f"{LABEL}.revision"]}},
                    {"name": labels[f"{LABEL}.base.name"], "digest": {"sha256": base["Id"].removeprefix("sha256:")}},
                    *materials,
                ],
            },
            "runDetails": {
                "builder": {"id": "make images"},
                "metadata": {"finishedOn": datetime.now(UTC).isoformat(timespec="seconds")},
            },
        },
    }


def hash_file(file: Path) -> str:
    """Sha256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    main(*sys.argv[1:])
