import shutil
from pathlib import Path
from typing import Any

import pytest

from ur4rec.commands.upstream import find_upstream
from ur4rec.config_section import ConfigSection
from ur4rec.storage.artifacts import ArtifactError, write_artifact


def make(folder: Path, name: str, **inputs: Any) -> Path:
    with write_artifact(folder, name, ConfigSection(), inputs) as writer:
        (writer.folder / "content").write_text(name)
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path, Path, Path]:
    """Three stages as `ur4rec train` lays them out, the embeddings under a name of the user's own."""
    sequences = make(tmp_path / "sequences", "preprocess_sequences")
    embeddings = make(tmp_path / "vectors", "encode_text", sequences=sequences)
    stages = tmp_path / "outputs/stages"
    first = make(stages / "first/checkpoint", "first", sequences=sequences)
    second = make(stages / "second/checkpoint", "second", embeddings=embeddings, checkpoint=first)
    third = make(stages / "third/checkpoint", "third", embeddings=embeddings, checkpoint=second)
    make(stages / "unrelated/checkpoint", "unrelated", sequences=sequences)
    make(tmp_path / "other_vectors", "other", sequences=sequences)
    return sequences, embeddings, first, second, third


def test_embeddings_come_first_then_the_stages_in_order(folders: tuple[Path, Path, Path, Path, Path]) -> None:
    sequences, embeddings, first, second, third = folders
    assert find_upstream(sequences, third) == [embeddings, first, second]
    assert find_upstream(sequences, second) == [embeddings, first]
    assert find_upstream(sequences, first) == []


def test_embeddings_elsewhere_are_left_out_unless_they_are_named(
    folders: tuple[Path, Path, Path, Path, Path], tmp_path: Path
) -> None:
    sequences, embeddings, first, second, third = folders
    elsewhere = tmp_path / "else/where"
    elsewhere.parent.mkdir()
    embeddings.rename(elsewhere)
    assert find_upstream(sequences, third) == [first, second]
    assert find_upstream(sequences, third, elsewhere) == [elsewhere, first, second]


def test_embeddings_made_again_since_are_not_taken_for_those_that_were_used(
    folders: tuple[Path, Path, Path, Path, Path],
) -> None:
    sequences, embeddings, first, second, third = folders
    shutil.rmtree(embeddings)
    make(embeddings, "encode_text_again", sequences=sequences)
    assert find_upstream(sequences, third) == [first, second]


def test_relative_paths_and_single_stages_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sequences = make(tmp_path / "data/sequences", "preprocess_sequences").relative_to(tmp_path)
    one = make(tmp_path / "one/checkpoint", "first", sequences=sequences)
    two = make(tmp_path / "two/checkpoint", "second", checkpoint=one).relative_to(tmp_path)
    assert find_upstream(sequences, two) == [one]


def test_an_altered_stage_is_named(folders: tuple[Path, Path, Path, Path, Path]) -> None:
    sequences, _, first, _, third = folders
    (first / "content").write_text("changed")
    with pytest.raises(ArtifactError, match="first/checkpoint/content: sha256 differs"):
        find_upstream(sequences, third)
