import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_runs import Trained

from ur4rec.data.sequences import load_sequences
from ur4rec.recommender.bundle import load_bundle, write_bundle
from ur4rec.recommender.recommender import Recommender
from ur4rec.storage.artifacts import ArtifactError
from ur4rec.training.checkpoints import CheckpointError, load_model
from ur4rec.training.scoring import ModelScorer


def test_the_weights_are_the_evaluated_ones(bundle: Path, trained: Trained) -> None:
    name = "final_model.pt"
    assert (bundle / name).read_bytes() == (trained.checkpoint / name).read_bytes()


def test_memories_have_read_every_interaction(bundle: Path, trained: Trained) -> None:
    sequences = load_sequences(trained.sequences)
    memories = torch.load(bundle / "memories.pt", weights_only=True)
    assert memories["absorbed"].tolist() == sequences.histories("full").lengths.tolist()
    older = torch.load(trained.memories / "final_memories.pt", weights_only=True)
    assert (memories["absorbed"][1:] > older["absorbed"][1:]).all()


def test_known_users_get_the_models_own_scores(bundle: Path, trained: Trained) -> None:
    sequences = load_sequences(trained.sequences)
    histories = sequences.histories("full")
    expected = ModelScorer(load_model(trained.checkpoint), histories)(np.array([3]))[0]
    seen = histories.items[histories.offsets[3] : histories.offsets[4]]
    expected[0] = expected[seen] = -torch.inf
    values, items = torch.topk(expected, 5)
    table = Recommender.load(bundle).recommend([sequences.user_ids[3]], k=5)
    assert table["item_id"].tolist() == [sequences.item_ids[item] for item in items]
    assert table["score"].to_numpy() == pytest.approx(values.numpy(), abs=1e-5)


def test_an_inline_history_is_scored_as_nobodys(bundle: Path, trained: Trained) -> None:
    sequences = load_sequences(trained.sequences)
    scorer = ModelScorer(load_model(trained.checkpoint), sequences.histories("full"))
    expected = scorer.score_histories([np.array([4, 9])])[0]
    expected[[0, 4, 9]] = -torch.inf
    history = [sequences.item_ids[4], sequences.item_ids[9]]
    table = Recommender.load(bundle).recommend(histories=[history], k=4)
    assert table["item_id"].tolist() == [sequences.item_ids[item] for item in torch.topk(expected, 4).indices]


def test_batched_requests_get_what_they_get_alone(bundle: Path) -> None:
    recommender = Recommender.load(bundle)
    users = list(recommender.bundle.user_index)[:7]
    together = recommender.recommend(users, k=3)
    for number, user in enumerate(users):
        alone = recommender.recommend([user], k=3)
        part = together[together["request"] == number]
        assert part["item_id"].tolist() == alone["item_id"].tolist()
        assert part["score"].to_numpy() == pytest.approx(alone["score"].to_numpy(), abs=1e-5)


def test_training_lengths_and_cutoffs_are_recorded(bundle: Path, trained: Trained) -> None:
    sequences = load_sequences(trained.sequences)
    loaded = load_bundle(bundle)
    assert loaded.training_lengths.tolist() == sequences.histories("validation").lengths.tolist()
    details = loaded.manifest.details
    assert details["training_cutoff_s"] == sequences.train[:, 2].max()
    assert details["selection_cutoff_s"] == max(sequences.train[:, 2].max(), sequences.val[:, 2].max())
    assert details["dataset_digest"] == sequences.digest
    assert set(loaded.manifest.inputs) == {"sequences", "checkpoint"}


def test_nothing_in_a_bundle_is_pickled(bundle: Path) -> None:
    assert {path.suffix for path in bundle.iterdir()} >= {".npz", ".pt"}
    for path in bundle.glob("*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            assert all(arrays[name].dtype != object for name in arrays)
    for path in bundle.glob("*.pt"):
        torch.load(path, weights_only=True)


def test_an_altered_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    for path in bundle.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "item_map.json").write_text(json.dumps({"i01": 2}))
    with pytest.raises(ArtifactError, match=r"item_map\.json: sha256 differs"):
        load_bundle(tmp_path)


def test_another_artifact_is_not_a_bundle(trained: Trained) -> None:
    with pytest.raises(ArtifactError, match="made by 'preprocess_sequences', expected a bundle"):
        load_bundle(trained.sequences)


def test_a_model_of_other_sequences_is_not_bundled(trained: Trained, older: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"was not trained on {older}: dataset_digest is "):
        write_bundle(older, trained.checkpoint, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
