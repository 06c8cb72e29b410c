import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
from memoryless import take_memory_away
from toy_runs import Trained

from ur4rec.data.sequences import load_sequences
from ur4rec.models.tensor_files import TensorFileError
from ur4rec.recommender.memories import MemoryLookupError, describe_user, memory_statistics
from ur4rec.registry.fetch import open_recommender
from ur4rec.storage.artifacts import ArtifactError
from ur4rec.training.checkpoints import CheckpointError


def test_statistics_count_users_with_at_least_one_update(bundle: Path) -> None:
    state = torch.load(bundle / "memories.pt", weights_only=True)
    used = state["memory_size"] > 0
    _, numbers = memory_statistics(bundle)
    assert numbers["total_users"] == 30
    assert numbers["users_with_memory"] == used.sum()
    assert numbers["bytes_per_user"] == 4 * 3 * 16 + 4 * 16 + 4 * 8  # slots, pending sum, counters
    assert numbers["total_bytes"] == 31 * numbers["bytes_per_user"]
    assert numbers["avg_interaction_count"] == pytest.approx(state["absorbed"][used].double().mean().item())


def test_one_user_in_detail(bundle: Path, trained: Trained) -> None:
    sequences = load_sequences(trained.sequences)
    state = torch.load(bundle / "memories.pt", weights_only=True)
    user = int(state["memory_size"].argmax())
    report = describe_user(bundle, sequences.user_ids[user])
    assert report.absorbed == sequences.histories("full").lengths[user]
    assert report.pending == report.absorbed % trained.config.interaction_threshold
    assert len(report.norms) == int(state["memory_size"][user])
    assert report.norms[0] == pytest.approx(state["history"][user, 0].norm().item())
    assert report.similarities[0] == pytest.approx(1)
    assert report.last_update.startswith("1970-01-12")


def test_a_bundle_has_read_everything_and_outputs_the_training_interactions(bundle: Path, trained: Trained) -> None:
    outputs, sequences = trained.results.parent, load_sequences(trained.sequences)
    user = sequences.user_ids.index("u03")
    cases: list[tuple[Path, Literal["full", "validation"], str]] = [
        (bundle, "full", "every interaction"),
        (outputs, "validation", "the training interactions"),
    ]
    for folder, horizon, words in cases:
        report = describe_user(folder, "u03", trained.sequences)
        assert report.absorbed == sequences.histories(horizon).lengths[user]
        assert report.read_up_to == memory_statistics(folder)[0] == words


def test_outputs_need_the_sequences_for_the_ids(trained: Trained) -> None:
    outputs = trained.results.parent
    with pytest.raises(ArtifactError, match="--sequences"):
        describe_user(outputs, "u03")
    assert describe_user(outputs, "u03", trained.sequences).user_id == "u03"


def test_an_unknown_user_is_named(bundle: Path) -> None:
    with pytest.raises(MemoryLookupError, match="no user 'stranger'"):
        describe_user(bundle, "stranger")


def test_a_model_without_memory_says_so(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "bundle")
    take_memory_away(tmp_path / "bundle")
    with pytest.raises(MemoryLookupError, match="max_memory_size: 0"):
        describe_user(tmp_path / "bundle", "u03")


def test_sequences_that_the_model_was_not_trained_on_name_nobody(trained: Trained, older: Path) -> None:
    outputs = trained.results.parent
    with pytest.raises(CheckpointError, match=f"{outputs}: was not trained on {older}"):
        describe_user(outputs, "u01", older)


@pytest.mark.parametrize("name", ["final_memories.pt", "final_model.pt", "model_config.json"])
def test_a_file_cut_short_is_named_as_it_is_there(trained: Trained, tmp_path: Path, name: str) -> None:
    outputs = shutil.copytree(trained.results.parent, tmp_path / "outputs")
    path = outputs / name
    path.write_bytes(path.read_bytes()[: min(2000, path.stat().st_size // 2)])
    readers: list[Callable[[], object]] = [lambda: memory_statistics(outputs)]
    if name == "final_memories.pt":
        readers.append(lambda: describe_user(outputs, "u03", trained.sequences))
    else:
        readers.append(lambda: open_recommender(outputs, trained.sequences))
    for read in readers:
        with pytest.raises((CheckpointError, TensorFileError), match=rf"^{path}: damaged.*; copy .* train again$"):
            read()


def test_an_altered_bundle_is_refused_by_every_look_into_it(bundle: Path, tmp_path: Path) -> None:
    altered = shutil.copytree(bundle, tmp_path / "bundle")
    state = torch.load(altered / "memories.pt", weights_only=True)
    state["history"][4] *= 2
    torch.save(state, altered / "memories.pt")
    readers: list[Callable[[Path], object]] = [memory_statistics, lambda folder: describe_user(folder, "u03")]
    for read in readers:
        with pytest.raises(ArtifactError, match=r"memories\.pt: sha256 differs from the manifest"):
            read(altered)
