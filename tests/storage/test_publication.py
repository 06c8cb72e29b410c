"""Manifests of published folders, and which leftovers nobody can need."""

import json

import pytest

from ur4rec.storage.artifacts import ArtifactError
from ur4rec.storage.checksums import FileDigest
from ur4rec.storage.publication import Publication, PublishedFile, check_file_name, is_leftover, name_version
from ur4rec.storage.publication import parse_publication as parse

A, B, C = (f"content/{number}-{letter * 16}" for number, letter in ((0, "a"), (7, "b"), (9, "c")))


def make(name: str = "sub/a.npy") -> dict[str, object]:
    files = {name: {"sha256": "0" * 64, "size_bytes": 3}}
    return {"kind": "published folder", "schema_version": 1, "content": B, "former": A, "files": files}


def test_survives_json() -> None:
    publication = Publication(content=B, former=None, files={"a": PublishedFile(sha256="1", size_bytes=2)})
    assert parse(publication.model_dump_json().encode(), "gs://b/p") == publication


@pytest.mark.parametrize("content", ["[]", "{}", '{"producer": "fetch", "files": {}}'])
def test_other_manifests_are_told_apart(content: str) -> None:
    assert parse(content.encode(), "gs://b/p") is None


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "", ".", "a//b", "a\nb", "a/"])
def test_files_stay_below_the_folder(name: str) -> None:
    with pytest.raises(ArtifactError, match="not the path of a file below a folder"):
        check_file_name(name)
    with pytest.raises(ArtifactError, match=r"gs://b/p/manifest\.json: not the manifest of a published folder"):
        parse(json.dumps(make(name)).encode(), "gs://b/p/manifest.json")


@pytest.mark.parametrize("change", [{"content": "elsewhere"}, {"schema_version": 2}, {"files": 1}, {"extra": 1}])
def test_what_is_not_understood_is_refused(change: dict[str, object]) -> None:
    assert parse(json.dumps(make()).encode(), "p")
    with pytest.raises(ArtifactError, match="publish it again"):
        parse(json.dumps(make() | change).encode(), "p")
    with pytest.raises(ArtifactError, match="publish it again"):
        parse(b'{"kind": "published fol', "p")


def test_a_version_is_named_by_what_it_replaces_and_by_its_contents() -> None:
    files = {"a": FileDigest("1", "c", 2), "b": FileDigest("2", "c", 2)}
    name = name_version(7, files)
    assert name.startswith("content/7-")
    assert name == name_version(7, dict(reversed(files.items())))
    assert name_version(8, files).partition("-")[2] == name.partition("-")[2]
    assert name_version(7, {"a": files["a"]}) != name


def test_only_what_is_built_on_a_replaced_manifest_is_left_over() -> None:
    publication = Publication(content=B, former=A, files={})
    named = {name: is_leftover(name, publication, number=9) for name in (A, B, C)}
    assert named == {A: False, B: False, C: False}  # former, current, built on the current one
    assert is_leftover("content/8-0123456789abcdef", publication, 9)
    assert is_leftover(A, Publication(content=C, former=B, files={}), 12)
    assert not is_leftover("content/notes", publication, 9)
