import json
from pathlib import Path
from typing import Any

import pytest

from ur4rec.config_section import ConfigSection
from ur4rec.storage.artifacts import ArtifactError, read_artifact, sha256_file, write_artifact


class Colour(ConfigSection):
    name: str = "red"


def write(path: Path, text: str = "hello", inputs: dict[str, Any] | None = None, producer: str = "paint") -> Path:
    with write_artifact(path, producer, Colour(), inputs) as writer:
        (writer.folder / "text.txt").write_text(text)
        writer.details["count"] = 3
    return path


def test_round_trip(tmp_path: Path) -> None:
    manifest = read_artifact(write(tmp_path / "a"))
    assert manifest.producer == "paint"
    assert manifest.details == {"count": 3}
    assert manifest.config == {"name": "red"}
    assert manifest.files == {"text.txt": sha256_file(tmp_path / "a" / "text.txt")}


def test_input_manifests_are_recorded(tmp_path: Path) -> None:
    first = write(tmp_path / "a")
    manifest = read_artifact(write(tmp_path / "b", inputs={"first": first}))
    assert manifest.inputs == {"first": sha256_file(first / "manifest.json")}


def test_content_digest_ignores_when_it_was_made(tmp_path: Path) -> None:
    a, b, c = (write(tmp_path / name, text) for name, text in [("a", "x"), ("b", "x"), ("c", "y")])
    digests = [read_artifact(path).content_digest for path in (a, b, c)]
    assert digests[0] == digests[1] != digests[2]


def test_altered_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a")
    (path / "text.txt").write_text("hellO")
    with pytest.raises(ArtifactError, match=r"text\.txt: sha256 differs"):
        read_artifact(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a")
    (path / "text.txt").unlink()
    with pytest.raises(ArtifactError, match=r"text\.txt: named in the manifest but missing"):
        read_artifact(path)


def test_other_schema_version_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a")
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 99}))
    with pytest.raises(ArtifactError, match="schema version 99"):
        read_artifact(path)


def test_failed_producer_leaves_the_old_artifact(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "old")
    with pytest.raises(FileNotFoundError), write_artifact(path, "paint", Colour()) as writer:
        (writer.folder / "missing" / "text.txt").write_text("new")
    read_artifact(path)
    assert (path / "text.txt").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_foreign_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.tex").write_text("mine")
    with pytest.raises(ArtifactError, match="refusing to replace"):
        write(tmp_path / "a")
    assert (tmp_path / "a" / "thesis.tex").read_text() == "mine"


def test_the_same_producer_replaces_its_artifact(tmp_path: Path) -> None:
    write(tmp_path / "a", "old")
    read_artifact(write(tmp_path / "a", "new"))
    assert (tmp_path / "a" / "text.txt").read_text() == "new"


def test_an_artifact_of_another_producer_is_not_replaced(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "old")
    message = r"/a: holds what paint wrote, refusing to replace it by what print writes; choose another folder, with -o"
    with pytest.raises(ArtifactError, match=message):
        write(path, "new", producer="print")
    assert (path / "text.txt").read_text() == "old"
    read_artifact(path)


def test_what_another_producer_puts_there_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with pytest.raises(ArtifactError, match="holds what print wrote"), write_artifact(path, "paint", Colour()):
        write(path, "faster", producer="print")
    assert (path / "text.txt").read_text() == "faster"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["", "text.txt"], ids=["folder", "file"])
def test_an_input_is_not_replaced_by_what_is_made_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write(tmp_path / "a", "old")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError, match=r"/a: holds the input first \(.*choose another folder, with -o"):
        write(tmp_path / "a", "new", inputs={"first": f"a/{name}"})
    assert (tmp_path / "a" / "text.txt").read_text() == "old"


def test_a_damaged_manifest_does_not_stand_in_the_way(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "old")
    (path / "manifest.json").write_text("")
    manifest = read_artifact(write(path, "new"))
    assert manifest.files == {"text.txt": sha256_file(path / "text.txt")}
    assert (path / "text.txt").read_text() == "new"
