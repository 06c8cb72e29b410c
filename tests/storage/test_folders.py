"""Publishing to and fetching from a path: the same calls as for cloud storage."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from storage_artifacts import ToyConfig, make_artifact

from ur4rec.storage.artifacts import ArtifactError, read_artifact, write_artifact
from ur4rec.storage.folders import digest_folder, fetch_folder, publish_folder


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return make_artifact(tmp_path / "artifact", "one")


def test_a_folder_is_copied_whole_and_its_successor_replaces_it(artifact: Path, tmp_path: Path) -> None:
    target = tmp_path / "published" / "there"
    assert publish_folder(artifact, target).changed
    assert not publish_folder(artifact, str(target)).changed
    make_artifact(artifact, "two")
    done = publish_folder(artifact, target)
    assert (done.num_files, done.changed, done.removed) == (3, True, [])
    assert fetch_folder(target, tmp_path / "fetched") == tmp_path / "fetched"
    assert digest_folder(tmp_path / "fetched") == digest_folder(artifact)
    assert read_artifact(tmp_path / "fetched") == read_artifact(artifact)


def test_publishers_take_turns(tmp_path: Path) -> None:
    folders = [make_artifact(tmp_path / f"{number}", f"word {number}") for number in range(8)]
    with ThreadPoolExecutor(len(folders)) as executor:
        outcomes = list(executor.map(lambda folder: publish_folder(folder, tmp_path / "target"), folders))
    assert all(outcome.changed for outcome in outcomes)
    assert digest_folder(tmp_path / "target") in [digest_folder(folder) for folder in folders]


def test_an_altered_artifact_is_neither_published_nor_fetched(artifact: Path, tmp_path: Path) -> None:
    (artifact / "logs" / "events").write_text("two")
    with pytest.raises(ArtifactError, match="logs/events: sha256 differs from the manifest"):
        publish_folder(artifact, tmp_path / "target")
    with pytest.raises(ArtifactError, match="logs/events: sha256 differs from the manifest"):
        fetch_folder(artifact, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_damaged_publication_is_replaced(artifact: Path, tmp_path: Path) -> None:
    publish_folder(artifact, tmp_path / "target")
    (tmp_path / "target" / "logs" / "events").write_text("two")
    assert publish_folder(artifact, tmp_path / "target").changed
    assert digest_folder(tmp_path / "target") == digest_folder(artifact)


def test_what_is_no_artifact_folder_is_never_replaced(artifact: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "diary.txt").write_text("dear")
    for act in (publish_folder, fetch_folder):
        with pytest.raises(ArtifactError, match="notes: exists and is not an artifact folder; refusing to replace it"):
            act(artifact, notes)
    assert [path.name for path in notes.iterdir()] == ["diary.txt"]


def test_an_artifact_is_replaced_by_its_kind_alone(artifact: Path, tmp_path: Path) -> None:
    with write_artifact(tmp_path / "other", "another", ToyConfig()) as writer:
        (writer.folder / "text").write_text("kept")
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "plays.csv").write_text("u,i")
    for act in (publish_folder, fetch_folder):
        for source, what in ((artifact, "what toy writes"), (plain, "a folder without manifest")):
            with pytest.raises(ArtifactError, match=f"holds what another wrote, refusing to replace it by {what}"):
                act(source, tmp_path / "other")
    assert (tmp_path / "other" / "text").read_text() == "kept"
    publish_folder(artifact, tmp_path / "target")
    assert fetch_folder(make_artifact(tmp_path / "newer", "two"), tmp_path / "target") == tmp_path / "target"
    assert digest_folder(tmp_path / "target") == digest_folder(tmp_path / "newer")


def test_what_cannot_be_published_is_told(artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    for folder, message in ((tmp_path / "empty", "holds no file"), (artifact / "weights.pt", "not a folder")):
        with pytest.raises(ArtifactError, match=f"{folder}: {message}"):
            publish_folder(folder, tmp_path / "target")
    (tmp_path / "empty" / "link").symlink_to(artifact)
    with pytest.raises(ArtifactError, match="link: a link to a folder; put the folder itself there"):
        publish_folder(tmp_path / "empty", tmp_path / "target")


def test_a_file_is_fetched_into_a_folder(artifact: Path, tmp_path: Path) -> None:
    place = fetch_folder(artifact / "weights.pt", tmp_path / "fetched")
    assert (place, place.read_text()) == (tmp_path / "fetched" / "weights.pt", "one" * 100)
