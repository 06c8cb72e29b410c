"""The images for real: what is in them, and how little they need."""

import io
import json
import re
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

import pytest

from components.image import SLIM, TRAIN
from pipelines.containers import run_container
from ur4rec import __version__

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]
TRAIN_GPU = TRAIN.replace("-cpu", "-gpu")
HARDENED = {"read_only": True, "tmpfs": {"/tmp": ""}, "cap_drop": ["ALL"], "network_mode": "none"}
SECRET = re.compile(rb"sk-[A-Za-z0-9]{20}|BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/]|AIza[0-9A-Za-z_-]{35}")
CONFIGURATION = re.compile(r"(pip|uv)\.(conf|toml)$|\.netrc$|\.pypirc$|pip[^/]*/constraints\.txt$")
OWN_FOLDERS = ("opt/", "tmp/", "root/", "home/", "etc/")
LARGEST_TEXT_BYTES = 1 << 20


def run(client: Any, image: str, command: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = run_container(client, image, command, {}, **HARDENED)
    return code, capsys.readouterr().out


@pytest.mark.parametrize("image", [SLIM, TRAIN, TRAIN_GPU])
def test_runs_hardened_and_not_as_root(client: Any, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    if image == TRAIN_GPU and not any(TRAIN_GPU in tag for one in client.images.list() for tag in one.tags):
        pytest.skip(f"{TRAIN_GPU} is not built; make images IMAGES=train-gpu")
    assert run(client, image, ["ur4rec", "--version"], capsys) == (0, f"ur4rec {__version__}\n")
    code, identity = run(client, image, ["id", "-u"], capsys)
    assert (code, identity.strip()) == (0, "10001")
    assert run(client, image, ["touch", "/opt/ur4rec/x"], capsys)[0] != 0
    labels = client.images.get(image).labels
    assert labels["org.opencontainers.image.version"] == __version__
    assert re.fullmatch("[0-9a-f]{40}|unknown", labels["org.opencontainers.image.revision"])


def test_slim_has_no_torch_and_all_that_its_tasks_import(client: Any, capsys: pytest.CaptureFixture[str]) -> None:
    modules = ("data.preprocess", "text.generate", "text.shards", "text.llm.provider", "text.llm.dashscope_client")
    others = ("storage.gcs", "storage.task_metrics", "config", "input_digests", "text.leaks.check")
    imports = "import " + ", ".join(f"ur4rec.{module}" for module in modules + others)
    assert run(client, SLIM, ["python3", "-c", imports], capsys) == (0, "")
    assert "No module named 'torch'" in run(client, SLIM, ["python3", "-c", "import torch"], capsys)[1]


def test_a_failure_at_once_is_a_failure(client: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """As often as the runner of kfp, which removes a container as it ends, takes it for a success."""
    for _ in range(5):
        assert run(client, SLIM, ["sh", "-c", "echo no; exit 3"], capsys) == (3, "no\n")


@pytest.mark.parametrize("image", [SLIM, TRAIN])
def test_what_is_told_about_an_image_names_no_secret_and_no_package_index(client: Any, image: str) -> None:
    told = json.dumps([client.images.get(image).attrs, client.images.get(image).history()])
    assert not re.search(r"https?://|pypi\.|index-url|sk-[a-z0-9]{8}|API_KEY", told)


def test_no_file_of_any_layer_holds_a_secret_or_a_package_index(client: Any) -> None:
    files = list(iterate_files(client, SLIM))
    assert any(name.endswith("ur4rec/cli.py") for name, _ in files)
    assert [name for name, content in files if SECRET.search(content)] == []
    assert [name for name, content in files if content and CONFIGURATION.search(name)] == []  # mounts leave empty ones


def iterate_files(client: Any, image: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of every small file that the layers of an image hold, also of those that a later one hides."""
    with io.BytesIO(b"".join(client.images.get(image).save())) as file, tarfile.open(fileobj=file) as archive:
        for member in archive:
            layer = archive.extractfile(member)
            if layer is not None and not member.name.endswith(".json"):
                yield from _iterate_layer(layer)


def _iterate_layer(layer: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    with suppress(tarfile.ReadError), tarfile.open(fileobj=layer) as files:
        for file in files:
            if file.isfile() and file.size < LARGEST_TEXT_BYTES and file.name.startswith(OWN_FOLDERS):
                content = files.extractfile(file)
                assert content is not None
                yield file.name, content.read()
