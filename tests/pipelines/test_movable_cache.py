"""The cache by itself; whole runs with damaged, moved and copied pipeline roots are in `test_local_run`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from pipelines.movable_cache import MovableCache
from pipelines.pipeline_root import CACHE_FOLDER, open_cache
from ur4rec.config_section import ConfigSection
from ur4rec.storage.artifacts import write_artifact

ENTRY_DAMAGE = {
    "empty": b"",
    "cut": b'{"parameters": {}, "artifacts": {"words": {"na',
    "of another shape": b'["parameters", "artifacts"]',
    "of kfp": b'{"words": {"__kfp_artifact__": true, "name": "words", "uri": "/tmp/words"}}',
    "a number": b"7",
    "nested": b"[" * 100_000,
    "of another encoding": '{"parameters": {"é": 1}}'.encode("utf-16"),
}


class Project:
    """A folder with a pipeline root, data, and a registry."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "outputs" / "root"
        (folder / "data").mkdir(parents=True, exist_ok=True)
        for name in ("plays.csv", "mlflow.db"):
            (folder / name).write_text(name)

    @property
    def cache(self) -> MovableCache:
        with open_cache(self.root, reuse=True) as folder:
            return MovableCache(folder, self.root)

    @property
    def entries(self) -> list[Path]:
        return list((self.root / CACHE_FOLDER).glob("*.json"))

    def key(self, **arguments: Any) -> str:
        return self.cache.compute_key("comp-write", "image", ["run"], arguments)

    def artifact(self, name: str = "words", text: str = "a b c") -> dsl.Artifact:
        path = self.root / "run-1" / "write" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return dsl.Artifact(name=name, uri=str(path), metadata={"words": 3.0})

    def ask(self, **arguments: Any) -> dict[str, Any] | None:
        cache = self.cache
        return cache.get(cache.compute_key("comp-write", "image", ["run"], arguments))

    def put(self, outputs: Mapping[str, Any], **arguments: Any) -> None:
        cache = self.cache
        cache.put(cache.compute_key("comp-write", "image", ["run"], arguments), outputs)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "base")


def test_gives_back_what_was_put(project: Project) -> None:
    project.put({"words": project.artifact(), "verdict": "passed", "shards": ["a", "b"]}, n=1)
    found = project.ask(n=1)
    assert found is not None
    assert (found["verdict"], found["shards"]) == ("passed", ["a", "b"])
    words = found["words"]
    assert (words.name, words.uri, words.metadata) == ("words", project.artifact().uri, {"words": 3.0})
    assert project.ask(n=2) is None


@pytest.mark.parametrize("content", ENTRY_DAMAGE.values(), ids=ENTRY_DAMAGE)
def test_a_damaged_entry_is_dropped(project: Project, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    project.put({"words": project.artifact()})
    (entry,) = project.entries
    entry.write_bytes(content)
    assert project.ask() is None
    assert capsys.readouterr().out == f"cache: write runs again, {entry}: is damaged\n"
    assert project.entries == []
    project.put({"words": project.artifact()})
    assert project.ask() is not None


@pytest.mark.parametrize("thing", ["folder", "broken link"])
def test_an_entry_that_is_no_file_is_dropped(project: Project, thing: str, capsys: pytest.CaptureFixture[str]) -> None:
    project.put({"words": project.artifact()})
    (entry,) = project.entries
    entry.unlink()
    if thing == "folder":
        (entry / "deeper").mkdir(parents=True)
    else:
        entry.symlink_to("nowhere")
    assert project.ask() is None
    assert capsys.readouterr().out.startswith(f"cache: write runs again, {entry}: cannot be read: ")
    assert project.entries == []


def test_a_cache_that_is_a_file_is_replaced(project: Project) -> None:
    project.root.mkdir(parents=True)
    (project.root / CACHE_FOLDER).write_text("")
    project.put({"words": project.artifact()})
    assert project.ask() is not None


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes().swapcase())


@pytest.mark.parametrize("damage", [remove, empty, edit])
@pytest.mark.parametrize("file", ["words", "folder/words.txt", "folder/manifest.json"])
def test_a_damaged_artifact_is_forgotten(
    project: Project, file: str, damage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project.root / "run-1" / "write" / "folder"
    folder.parent.mkdir(parents=True)
    with write_artifact(folder, "write", ConfigSection()) as writer:
        (writer.folder / "words.txt").write_text("a b c")
    project.put({"words": project.artifact(), "folder": dsl.Artifact(name="folder", uri=str(folder))})
    assert project.ask() is not None
    damage(folder.parent / file)
    assert project.ask() is None
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"cache: write runs again, {folder.parent / file}: ")
    assert "again" not in line.partition(", ")[2]
    assert project.entries == []


@pytest.mark.parametrize("keep", [True, False], ids=["copied", "moved"])
def test_a_project_elsewhere_has_a_cache_of_its_own(project: Project, tmp_path: Path, keep: bool) -> None:
    def arguments(folder: Path) -> dict[str, Any]:
        return {
            "interactions": str(folder / "plays.csv"),
            "items": str(folder / "data"),
            "state": str(folder / "outputs" / "root" / ".state"),
            "tracking_uri": f"sqlite:///{folder / 'mlflow.db'}",
            "config": {"text_user_prompt": str(folder / "mine.yaml"), "files": [str(folder / "a")]},
            "words": dsl.Artifact(uri=str(folder / "outputs" / "root" / "run-0" / "words")),
        }

    project.put({"words": project.artifact()}, **arguments(project.folder))
    elsewhere = tmp_path / "else where" / "deeper"
    shutil.copytree(project.folder, elsewhere)
    if not keep:
        shutil.rmtree(project.folder)
    found = Project(elsewhere).ask(**arguments(elsewhere))
    assert found is not None
    assert found["words"].uri == str(elsewhere / "outputs" / "root" / "run-1" / "write" / "words")


def test_the_place_of_data_is_no_part_of_the_key(project: Project, tmp_path: Path) -> None:
    other = tmp_path / "other" / "plays.csv"
    other.parent.mkdir()
    other.write_text("other")
    here, there = str(project.folder / "plays.csv"), str(other)
    for name in ("interactions", "items", "item_text", "user_text"):
        assert project.key(**{name: here, "digest": "a"}) == project.key(**{name: there, "digest": "a"})
        assert len({project.key(**{name: place}) for place in (here, "", f"gs://a/{name}", f"gs://b/{name}")}) == 4
    assert project.key(item_text=here, user_text="") != project.key(item_text="", user_text=here)
    assert project.key(state="/a") == project.key(state="gs://b/c")


def test_what_else_differs_differs_in_the_key(project: Project) -> None:
    values: list[Any] = ["", "a", 1, 2.5, True, None, {"a": 1}, {"a": [1]}, "/a", "/b", "sqlite:////a", "http://a"]
    assert len({project.key(n=value) for value in values}) == len(values)
    runs = [dsl.Artifact(uri=str(project.root / run / "words")) for run in ("run-1", "run-2")]
    assert project.key(words=runs[0]) != project.key(words=runs[1])
    keys = {project.cache.compute_key(name, image, ["run"], {}) for name in "ab" for image in "cd"}
    assert len(keys) == 4


def register(project: Project, tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    content = json.dumps({"name": "ur4rec", "tracking_uri": tracking_uri})
    project.put({"registration": project.artifact("registration", content)})


def test_a_registration_lasts_as_long_as_its_registry(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    database = project.folder / "mlflow.db"
    for options in ("", "?timeout=30"):
        register(project, f"sqlite:///{database}{options}", monkeypatch)
        assert project.ask() is not None
    database.write_text("")
    assert project.ask() is None
    register(project, f"sqlite:///{database}", monkeypatch)
    database.unlink()
    assert project.ask() is None
    register(project, "http://localhost:5000", monkeypatch)
    assert project.ask() is not None


def test_a_registration_names_the_registry_that_moved_with_it(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(project, f"sqlite:///{project.folder / 'mlflow.db'}", monkeypatch)
    moved = Project(project.folder.rename(tmp_path / "moved"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{moved.folder / 'mlflow.db'}")
    for _ in range(2):
        found = moved.ask()
        assert found is not None
        named = json.loads(Path(found["registration"].uri).read_bytes())
        assert named == {"name": "ur4rec", "tracking_uri": f"sqlite:///{moved.folder / 'mlflow.db'}"}
