"""The same call for a path and for cloud storage."""

import doctest
import re
from functools import partial
from pathlib import Path

import pytest
from emulators import put_at, put_object
from storage_artifacts import make_artifact

from ur4rec.storage import inputs
from ur4rec.storage.artifacts import ArtifactError
from ur4rec.storage.folders import digest_folder, fetch_folder, publish_folder
from ur4rec.storage.inputs import ChangedInputError, digest_inputs, list_versions, local_copy, pinned_copy
from ur4rec.storage.objects import CHUNK_BYTES, StoreError
from ur4rec.storage.stores import open_store

pytestmark = pytest.mark.emulator


def test_a_path_is_itself(tmp_path: Path) -> None:
    with local_copy(str(tmp_path / "plays.csv")) as path:
        assert path == tmp_path / "plays.csv"


def test_an_object_and_a_prefix_are_copied_and_the_copy_goes_away(cloud: str) -> None:
    put_at(f"{cloud}/data/plays.csv", b"1")
    put_at(f"{cloud}/data/songs.csv", b"2")
    put_at(f"{cloud}/data/deeper/other.csv", b"3")
    with local_copy(f"{cloud}/data/songs.csv") as path:
        assert (path.name, path.read_bytes(), len(list(path.parent.iterdir()))) == ("songs.csv", b"2", 1)
    with local_copy(f"{cloud}/data/") as path:
        assert {file.name: file.read_bytes() for file in path.iterdir()} == {"plays.csv": b"1", "songs.csv": b"2"}
    assert not path.exists()


def test_an_error_about_a_copy_names_the_location(cloud: str, tmp_path: Path) -> None:
    """Whatever says it, the reader of the file or the operating system."""
    put_at(f"{cloud}/data/plays.csv", b"1")
    for location in (f"{cloud}/data/", f"{cloud}/data/plays.csv"):
        with pytest.raises(ArtifactError) as caught, local_copy(location) as path:
            raise ArtifactError(f"{path}: odd, as is {path.parent}/other")
        assert str(caught.value).startswith(f"{location.rstrip('/')}: odd, as is ")
        assert "ur4rec-input" not in str(caught.value).partition(" as is ")[0]
        with pytest.raises(FileNotFoundError) as missing, local_copy(location) as path:
            (path / "nowhere").read_bytes() if path.is_dir() else path.with_name("nowhere").read_bytes()
        assert missing.value.filename == f"{cloud}/data/nowhere"
    with pytest.raises(ArtifactError, match=f"^{tmp_path}: odd"), local_copy(tmp_path) as path:
        raise ArtifactError(f"{path}: odd")


def test_folders_below_a_prefix(cloud: str) -> None:
    for name in ("data/a/x", "data/b/c/y", "data/z", "database/d/x"):
        put_at(f"{cloud}/{name}", b"1")
    prefix = open_store(f"{cloud}/data")
    assert prefix.list_folders() == ["a", "b"]
    prefix.close()


def test_a_pinned_copy_is_what_the_digest_was_taken_of(cloud: str, tmp_path: Path) -> None:
    (tmp_path / "plays.csv").write_bytes(b"1")
    put_at(f"{cloud}/data/plays.csv", b"1")
    for location, replace in (
        (str(tmp_path / "plays.csv"), lambda: (tmp_path / "plays.csv").write_bytes(b"2")),
        (f"{cloud}/data/plays.csv", lambda: put_at(f"{cloud}/data/plays.csv", b"2")),
    ):
        take_digest = partial(digest_inputs, location)
        digest = take_digest()
        for expected in (digest, ""):
            with pinned_copy(location, expected, take_digest) as path:
                assert path.read_bytes() == b"1"
        replace()
        with (
            pytest.raises(ChangedInputError, match=rf"^{re.escape(location)}: has changed since the run began; start"),
            pinned_copy(location, digest, take_digest),
        ):
            pass


def test_the_examples_hold() -> None:
    assert doctest.testmod(inputs) == (0, 1)


def test_other_contents_are_another_version(cloud: str) -> None:
    put_at(f"{cloud}/data/plays.csv", b"1")
    before = list_versions(f"{cloud}/data")
    assert before == list_versions(f"{cloud}/data/plays.csv") == list_versions(f"{cloud}/data")
    put_at(f"{cloud}/data/plays.csv", b"2")
    assert list_versions(f"{cloud}/data") != before


def test_a_published_folder_and_an_artifact_folder_come_whole_and_verified(cloud: str, tmp_path: Path) -> None:
    location, artifact = f"{cloud}/published", make_artifact(tmp_path / "artifact", "one")
    publish_folder(artifact, location)
    for path in artifact.rglob("*"):
        if path.is_file():
            put_at(f"{cloud}/copied/{path.relative_to(artifact).as_posix()}", path.read_bytes())
    for place in (location, f"{cloud}/copied"):
        with local_copy(place) as folder:
            assert digest_folder(folder) == digest_folder(artifact)
    put_at(f"{cloud}/copied/logs/events", b"two")
    with (
        pytest.raises(ArtifactError, match="logs/events: sha256 differs from the manifest"),
        local_copy(f"{cloud}/copied"),
    ):
        pass


def test_a_publication_is_another_version(cloud: str, tmp_path: Path) -> None:
    location = f"{cloud}/published"
    publish_folder(make_artifact(tmp_path / "artifact", "one"), location)
    before = list_versions(location)
    assert before == list_versions(location)
    publish_folder(make_artifact(tmp_path / "artifact", "two"), location)
    assert list_versions(location) != before


def test_fetching_takes_sub_folders_of_a_prefix_and_single_objects(cloud: str, tmp_path: Path) -> None:
    put_at(f"{cloud}/data/only/deeper/plays.csv", b"1")
    put_at(f"{cloud}/data/only/large.bin", b"7" * (CHUNK_BYTES + 1))
    folder = fetch_folder(f"{cloud}/data/", tmp_path / "a")
    assert {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*.*")} == {
        "only/deeper/plays.csv": 1,
        "only/large.bin": CHUNK_BYTES + 1,
    }
    file = fetch_folder(f"{cloud}/data/only/deeper/plays.csv", tmp_path / "b")
    assert (file, file.read_bytes()) == (tmp_path / "b" / "plays.csv", b"1")


def test_no_name_leads_out_of_the_folder(bucket: str, tmp_path: Path) -> None:
    put_object(bucket, "data/plays.csv", b"1")
    put_object(bucket, "data/../../evil", b"2")
    with pytest.raises(StoreError, match=r"data: holds an object named '\.\./\.\./evil': not the path of a file below"):
        fetch_folder(f"gs://{bucket}/data", tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_nothing_there_is_told(cloud: str) -> None:
    prefix = open_store(f"{cloud}/data")
    prefix.upload_new("plays.csv", b"1")
    for missing in ("data/songs.csv", "dat", "data/plays"):
        with (
            pytest.raises(StoreError, match=f"{cloud}/{missing}: nothing is there"),
            local_copy(f"{cloud}/{missing}"),
        ):
            pass
