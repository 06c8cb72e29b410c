"""Models from where users have them: a bundle, a folder of outputs, the registry."""

import json
from pathlib import Path

import pytest
from toy_runs import Registered, Trained

from ur4rec.recommender.memories import describe_user, memory_statistics
from ur4rec.registry.fetch import fetch_bundle, open_recommender
from ur4rec.registry.mlflow_client import RegistryError
from ur4rec.storage.artifacts import ArtifactError
from ur4rec.training.checkpoints import CheckpointError


def test_the_bundle_of_a_registered_model_is_fetched_for_the_block(bundle: Path, registered: Registered) -> None:
    with fetch_bundle("models:/ur4rec@challenger", registered.tracking_uri) as folder:
        assert memory_statistics(folder) == memory_statistics(bundle)
        assert describe_user(folder, "u03") == describe_user(bundle, "u03")
    assert not folder.exists()
    with (
        pytest.raises(RegistryError, match="alias nobody not found"),
        fetch_bundle("models:/ur4rec@nobody", registered.tracking_uri),
    ):
        pass


def test_bundle_and_outputs_recommend_the_same(bundle: Path, trained: Trained) -> None:
    outputs = trained.results.parent
    users = list(json.loads((bundle / "user_map.json").read_text()))[:4]
    from_bundle = open_recommender(bundle).recommend(users)
    assert open_recommender(outputs, trained.sequences).recommend(users).equals(from_bundle)


def test_outputs_without_sequences_are_explained(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="name the sequences it was trained on"):
        open_recommender(trained.results.parent)
    with pytest.raises(ArtifactError, match="nowhere: not found"):
        open_recommender(tmp_path / "nowhere")


@pytest.mark.parametrize("stage", ["pretrain_sasrec", "pretrain_retriever"])
def test_a_model_of_which_a_part_is_trained_recommends_nothing(trained: Trained, stage: str) -> None:
    folder = trained.checkpoint.parents[1] / stage / "checkpoint"
    with pytest.raises(CheckpointError, match=f"{folder}: only a part of the model is trained"):
        open_recommender(folder, trained.sequences)
