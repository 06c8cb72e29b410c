import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from digests import digest_again
from memoryless import take_memory_away
from toy_runs import Trained
from typer.testing import CliRunner

from ur4rec.cli import app
from ur4rec.data.sequences import load_sequences
from ur4rec.models.config import MemoryConfig
from ur4rec.models.user_memory import MemoryState, UserMemory
from ur4rec.recommender.memories import MemoryLookupError
from ur4rec.recommender.memory_diff import _updates_since, compare_memories
from ur4rec.storage.artifacts import ArtifactError
from ur4rec.training.checkpoints import CheckpointError

USER = 4


@pytest.fixture
def edited(bundle: Path, tmp_path: Path) -> tuple[Path, Callable[..., None]]:
    """A copy of the bundle, and a function that changes its memories file."""
    shutil.copytree(bundle, tmp_path / "bundle")

    def edit(**rows: int | torch.Tensor) -> None:
        path = tmp_path / "bundle/memories.pt"
        state = torch.load(path, weights_only=True)
        for name, value in rows.items():
            state[name][USER] = value
        torch.save(state, path)
        digest_again(path.parent)

    return tmp_path / "bundle", edit


def test_a_memory_does_not_differ_from_itself(bundle: Path) -> None:
    report = compare_memories(bundle, bundle)
    assert report.comparable
    assert report.by_id
    assert report.numbers["users in both"] == 30
    assert report.numbers["with a memory in both"] > 0
    assert report.numbers["cosine, percentile 1"] == pytest.approx(1)
    for name in ("changed", "updates more in B", "interactions more in B", "users only in A", "users only in B"):
        assert report.numbers[name] == 0
    assert report.most_moved == ()


def test_from_training_to_serving_two_more_interactions_each(bundle: Path, trained: Trained) -> None:
    outputs, sequences = trained.results.parent, load_sequences(trained.sequences)
    report = compare_memories(outputs, bundle, (trained.sequences, None))
    assert report.read_up_to == ("the training interactions", "every interaction")
    assert report.comparable
    more = sequences.histories("full").lengths - sequences.histories("validation").lengths
    assert report.numbers["interactions more in B"] == more.sum()
    assert report.numbers["changed"] == report.numbers["read more or less in B"] == (more > 0).sum()
    threshold = trained.config.interaction_threshold
    updates = [sequences.histories(horizon).lengths // threshold for horizon in ("validation", "full")]
    assert report.numbers["updates more in B"] == (updates[1] - updates[0]).sum() > 0
    back = compare_memories(bundle, outputs, (None, trained.sequences))
    assert back.numbers["interactions more in B"] == -more.sum()
    assert back.numbers["updates more in B"] == -report.numbers["updates more in B"]


def test_the_user_that_moved_most_is_named(bundle: Path, edited: tuple[Path, Callable[..., None]]) -> None:
    path, edit = edited
    state = torch.load(bundle / "memories.pt", weights_only=True)
    edit(history=-state["history"][USER], absorbed=state["absorbed"][USER] + 7)
    report = compare_memories(bundle, path)
    user_ids = {index: user for user, index in json.loads((bundle / "user_map.json").read_text()).items()}
    assert report.numbers["changed"] == 1
    assert report.numbers["interactions more in B"] == 7
    (moved,) = report.most_moved
    assert (moved.user_id, moved.interactions) == (user_ids[USER], 7)
    assert moved.cosine == pytest.approx(-1)
    assert moved.updates == state["history"].shape[1]  # the old state is in no slot


def test_a_forgotten_user_has_a_memory_in_one_only(bundle: Path, edited: tuple[Path, Callable[..., None]]) -> None:
    path, edit = edited
    edit(history=0, memory_size=0)
    numbers = compare_memories(bundle, path).numbers
    assert (numbers["with a memory only in A"], numbers["with a memory only in B"]) == (1, 0)


def test_users_are_matched_by_their_ids(bundle: Path, edited: tuple[Path, Callable[..., None]]) -> None:
    path, _ = edited
    users = json.loads((path / "user_map.json").read_text())
    renamed = {("newcomer" if index == USER else user): index for user, index in users.items()}
    (path / "user_map.json").write_text(json.dumps(renamed))
    digest_again(path)
    numbers = compare_memories(bundle, path).numbers
    assert [numbers[f"users {where}"] for where in ("in both", "only in A", "only in B")] == [29, 1, 1]
    assert numbers["changed"] == 0


def test_two_trainings_are_compared_by_counts_only(trained: Trained, retrained: Trained) -> None:
    one, other = (run.results.parent for run in (trained, retrained))
    report = compare_memories(one, other, (trained.sequences, retrained.sequences))
    assert not report.comparable
    assert report.most_moved == ()
    assert report.numbers["users in both"] == 30
    assert report.numbers["interactions more in B"] == report.numbers["slots in use more in B"] == 0
    assert not any("cosine" in name or "changed" in name for name in report.numbers)


def test_without_ids_users_are_matched_by_index(trained: Trained, bundle: Path) -> None:
    outputs = trained.results.parent
    report = compare_memories(outputs, outputs)
    assert not report.by_id
    assert report.numbers["users in both"] == 30
    with pytest.raises(ArtifactError, match=r"user_map\.json: not found; name the sequences folder with --sequences"):
        compare_memories(outputs, bundle)


def test_sequences_of_other_data_are_refused(trained: Trained, older: Path) -> None:
    outputs = trained.results.parent
    with pytest.raises(CheckpointError, match=f"{outputs}: was not trained on {older}"):
        compare_memories(outputs, outputs, (older, older))


def test_a_model_without_memory_says_so(bundle: Path, edited: tuple[Path, Callable[..., None]]) -> None:
    path, _ = edited
    take_memory_away(path)
    with pytest.raises(MemoryLookupError, match="max_memory_size: 0"):
        compare_memories(bundle, path)


def run_diff(*arguments: int | Path | str) -> tuple[int, str]:
    result = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(
        app, ["memory", "diff", *(str(one) for one in arguments)]
    )
    return result.exit_code, result.output


def test_the_command_shows_both_tables(bundle: Path, trained: Trained) -> None:
    outputs = trained.results.parent
    code, text = run_diff(outputs, bundle, "--sequences", trained.sequences, "--top", 2)
    assert code == 0
    assert f"A: {outputs}, after the training interactions\nB: {bundle}, after every interaction" in text
    assert "memories, from A to B" in text
    most_moved = text.partition("moved most")[2]
    assert sum(line.count("│ u") for line in most_moved.splitlines()) == 2


def test_the_command_says_that_nothing_moved(bundle: Path, trained: Trained) -> None:
    code, text = run_diff(bundle, bundle)
    assert code == 0
    assert text.endswith("no memory differs\n")
    assert "moved most" not in text
    code, text = run_diff(trained.results.parent, bundle, "--sequences", trained.sequences, "--top", 0)
    assert code == 0
    assert "no memory differs" not in text


def test_the_command_says_what_it_does_not_compare(trained: Trained, retrained: Trained) -> None:
    code, text = run_diff(trained.results.parent, retrained.results.parent)
    assert code == 0
    assert "the weights differ: two trainings have unrelated latent spaces" in text
    assert "users are matched by index" in text
    assert "cosine" not in text
    code, text = run_diff(trained.results.parent, "nowhere")
    assert code == 2
    assert "nowhere" in text
    assert "not found" in text


@pytest.mark.parametrize("count", range(6))
def test_updates_are_counted_by_where_the_old_state_stands(count: int) -> None:
    torch.manual_seed(0)
    memory = UserMemory(1, 4, MemoryConfig(memory_dim=5, max_memory_size=3))
    states: list[MemoryState] = [memory.empty_state(2)]
    for _ in range(7):
        states.append(memory.force_update(states[-1], torch.randn(2, 4), force=True))
    assert _updates_since(states[1], states[1 + count]).tolist() == [min(count, 3)] * 2
    assert _updates_since(states[0], states[count]).tolist() == [min(count, 3)] * 2
