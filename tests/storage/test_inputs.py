"""The same call for a path and for cloud storage."""

from pathlib import Path

import pytest

from ur4rec.storage.gcs import GcsError, GcsLocation, GcsPrefix
from ur4rec.storage.inputs import list_versions, local_copy

pytestmark = pytest.mark.emulator


def put(bucket: str, name: str, content: bytes) -> None:
    from google.cloud import storage

    storage.Client(project="toy").bucket(bucket).blob(name).upload_from_string(content)


def test_a_path_is_itself(tmp_path: Path) -> None:
    with local_copy(str(tmp_path / "plays.csv")) as path:
        assert path == tmp_path / "plays.csv"


def test_an_object_and_a_prefix_are_copied_and_the_copy_goes_away(bucket: str) -> None:
    put(bucket, "data/plays.csv", b"1")
    put(bucket, "data/songs.csv", b"2")
    put(bucket, "data/deeper/other.csv", b"3")
    with local_copy(f"gs://{bucket}/data/songs.csv") as path:
        assert (path.name, path.read_bytes(), len(list(path.parent.iterdir()))) == ("songs.csv", b"2", 1)
    with local_copy(f"gs://{bucket}/data/") as path:
        assert {file.name: file.read_bytes() for file in path.iterdir()} == {"plays.csv": b"1", "songs.csv": b"2"}
    assert not path.exists()


def test_other_contents_are_another_version(bucket: str) -> None:
    put(bucket, "data/plays.csv", b"1")
    before = list_versions(f"gs://{bucket}/data")
    assert before == list_versions(f"gs://{bucket}/data/plays.csv") == list_versions(f"gs://{bucket}/data")
    put(bucket, "data/plays.csv", b"2")
    assert list_versions(f"gs://{bucket}/data") != before


def test_nothing_there_is_told(bucket: str) -> None:
    prefix = GcsPrefix(GcsLocation(bucket, "data"))
    prefix.upload_new("plays.csv", b"1")
    for missing in ("data/songs.csv", "dat", "data/plays"):
        with (
            pytest.raises(GcsError, match=f"gs://{bucket}/{missing}: nothing is there"),
            local_copy(f"gs://{bucket}/{missing}"),
        ):
            pass
