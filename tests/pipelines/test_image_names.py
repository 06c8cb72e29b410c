import re
from pathlib import Path

import pytest

from components.image import SLIM, TRAIN
from pipelines.compilation import PIPELINE_FILE, PipelineFileError, check_compiled, compile_pipeline
from pipelines.image_names import ImageNameError, ImageNames, parse_digests
from ur4rec import __version__

DIGEST = "sha256:" + "0123456789abcdef" * 4


def list_images(compiled: bytes) -> set[str]:
    return set(re.findall(r"image: (.*)", compiled.decode()))


def test_by_default_images_are_named_by_version() -> None:
    compiled = PIPELINE_FILE.read_bytes()
    assert list_images(compiled) == {SLIM, TRAIN}
    assert ImageNames().replace_in(compiled) == compiled


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ImageNames("reg.example:5000/a/ur"),
            [f"reg.example:5000/a/ur:{__version__}-{t}" for t in ("slim", "train-cpu")],
        ),
        (ImageNames(tag="1.4.0"), ["ur4rec/python:1.4.0-slim", "ur4rec/python:1.4.0-train-cpu"]),
        (ImageNames(tag="x", gpu=True), ["ur4rec/python:x-slim", "ur4rec/python:x-train-gpu"]),
        (
            ImageNames(tag="x", digests={"train": DIGEST}),
            ["ur4rec/python:x-slim", f"ur4rec/python:x-train-cpu@{DIGEST}"],
        ),
    ],
)
def test_names_and_digests_take_their_place(names: ImageNames, expected: list[str]) -> None:
    compiled = names.replace_in(PIPELINE_FILE.read_bytes())
    assert list_images(compiled) == set(expected)
    assert len(compiled.splitlines()) == len(PIPELINE_FILE.read_bytes().splitlines())


def test_a_file_is_checked_against_the_same_names(tmp_path: Path) -> None:
    names = ImageNames("registry.example/ur4rec", "1")
    compile_pipeline(tmp_path / "mine.yaml", names)
    check_compiled(tmp_path / "mine.yaml", names)
    with pytest.raises(PipelineFileError, match="differs"):
        check_compiled(tmp_path / "mine.yaml")


@pytest.mark.parametrize("option", ["slim", "slim=sha256:12", f"gpu={DIGEST}", f"slim={DIGEST}0"])
def test_other_digests_are_refused(option: str) -> None:
    with pytest.raises(ImageNameError, match="expected slim=sha256"):
        parse_digests(["train=" + DIGEST, option])


def test_other_names_are_refused() -> None:
    with pytest.raises(ImageNameError, match="--image-repository UR 4"):
        ImageNames(repository="UR 4")
    with pytest.raises(ImageNameError, match="--image-tag a b"):
        ImageNames(tag="a b")
