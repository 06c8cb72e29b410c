from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.image import SLIM, TRAIN
from pipelines.__main__ import app
from pipelines.compilation import (
    PIPELINE_FILE,
    ImageNameError,
    PipelineFileError,
    check_compiled,
    check_images,
    compile_pipeline,
    is_current,
    name_images,
)
from pipelines.options import ImageOptions
from ur4rec import __version__

HEAVY = ("torch", "mlflow", "sentence_transformers", "transformers", "pandas", "numpy", "sklearn", "matplotlib")
DIGEST = "sha256:" + "0123456789abcdef" * 4


def test_compiling_in_a_new_process_imports_nothing_heavy_and_writes_the_same(tmp_path: Path) -> None:
    output = tmp_path / "pipeline.yaml"
    script = (
        "import sys\n"
        "from pipelines.__main__ import app\n"
        f"app(['compile', '--output', {str(output)!r}], standalone_mode=False)\n"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.splitlines()[-1] == "heavy: []"
    assert output.read_bytes() == PIPELINE_FILE.read_bytes()


def test_check_finds_an_edited_or_missing_file(tmp_path: Path) -> None:
    edited = tmp_path / "edited.yaml"
    edited.write_bytes(PIPELINE_FILE.read_bytes().replace(b"cpuRequest: 1.0", b"cpuRequest: 3.0", 1))
    with pytest.raises(PipelineFileError, match=r"edited\.yaml: differs"):
        check_compiled(edited)
    assert not is_current(edited)
    with pytest.raises(PipelineFileError, match=r"missing\.yaml: not found"):
        check_compiled(tmp_path / "missing.yaml")
    result = CliRunner().invoke(app, ["compile", "--check", "--output", str(edited)])
    assert result.exit_code == 2
    assert edited.read_bytes() != PIPELINE_FILE.read_bytes()


def test_the_check_of_a_run_does_not_mind_the_version_of_kfp(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_bytes(PIPELINE_FILE.read_bytes().replace(b"sdkVersion: kfp-2", b"sdkVersion: kfp-9", 1))
    assert is_current(other)
    with pytest.raises(PipelineFileError):
        check_compiled(other)


def list_images(compiled: bytes) -> set[str]:
    return set(re.findall(r"image: (.*)", compiled.decode()))


def test_by_default_images_are_named_by_version() -> None:
    compiled = PIPELINE_FILE.read_bytes()
    assert list_images(compiled) == {SLIM, TRAIN}
    assert name_images(compiled, ImageOptions()) == compiled


@pytest.mark.parametrize(
    ("names", "gpu", "expected"),
    [
        (
            ImageOptions("reg.example:5000/a/ur"),
            False,
            [f"reg.example:5000/a/ur:{__version__}-{t}" for t in ("slim", "train-cpu")],
        ),
        (ImageOptions(image_tag="1.4.0"), False, ["ur4rec/python:1.4.0-slim", "ur4rec/python:1.4.0-train-cpu"]),
        (ImageOptions(image_tag="x"), True, ["ur4rec/python:x-slim", "ur4rec/python:x-train-gpu"]),
        (
            ImageOptions(image_tag="x", image_digest=[f"train={DIGEST}"]),
            False,
            ["ur4rec/python:x-slim", f"ur4rec/python:x-train-cpu@{DIGEST}"],
        ),
    ],
)
def test_names_and_digests_take_their_place(names: ImageOptions, gpu: bool, expected: list[str]) -> None:
    compiled = name_images(PIPELINE_FILE.read_bytes(), names, gpu)
    assert list_images(compiled) == set(expected)
    assert len(compiled.splitlines()) == len(PIPELINE_FILE.read_bytes().splitlines())


def test_a_file_is_checked_against_the_same_names(tmp_path: Path) -> None:
    names = ImageOptions("registry.example/ur4rec", "1")
    compile_pipeline(tmp_path / "mine.yaml", names)
    check_compiled(tmp_path / "mine.yaml", names)
    with pytest.raises(PipelineFileError, match="differs"):
        check_compiled(tmp_path / "mine.yaml")


@pytest.mark.parametrize("option", ["slim", "slim=sha256:12", f"gpu={DIGEST}", f"slim={DIGEST}0"])
def test_other_digests_are_refused(option: str) -> None:
    with pytest.raises(ImageNameError, match="expected slim=sha256"):
        check_images(ImageOptions(image_digest=["train=" + DIGEST, option]))


def test_other_names_are_refused() -> None:
    with pytest.raises(ImageNameError, match="--image-repository UR 4"):
        check_images(ImageOptions(image_repository="UR 4"))
    with pytest.raises(ImageNameError, match="--image-tag a b"):
        check_images(ImageOptions(image_tag="a b"))
