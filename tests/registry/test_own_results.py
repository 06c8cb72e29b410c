"""Results of another model are not registered beside this one."""

import json

import pytest

from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.register import register_model
from ur4rec.storage.artifacts import ArtifactError


def register(inputs, tmp_path, tracking_uri):
    return register_model(*inputs, RegistryConfig(), tmp_path / "registration.json", tracking_uri)


def test_results_of_another_training_are_refused(trained, retrained, tracking_uri, tmp_path):
    inputs = (*trained.inputs[:3], *retrained.inputs[3:])
    with pytest.raises(ArtifactError, match=r"seed was 11, the checkpoint has 7; name the folder .* with --outputs"):
        register(inputs, tmp_path, tracking_uri)
    assert not (tmp_path / "mlflow/mlartifacts").exists()


def test_an_earlier_stage_has_not_the_results_of_the_last(trained, tracking_uri, tmp_path):
    earlier = trained.checkpoint.parents[1] / "joint_finetune/checkpoint"
    inputs = (trained.sequences, earlier, *trained.inputs[2:])
    with pytest.raises(ArtifactError, match="validation metrics of its stages are not those of the checkpoint"):
        register(inputs, tmp_path, tracking_uri)


def test_results_on_other_data_are_refused(trained, tracking_uri, tmp_path):
    altered = json.loads(trained.results.read_text())
    altered["dataset"]["digest"] = "0" * 64
    other = tmp_path / "results.json"
    other.write_text(json.dumps(altered))
    inputs = (*trained.inputs[:3], other, trained.report)
    with pytest.raises(ArtifactError, match="was made on data 000000000000, not on"):
        register(inputs, tmp_path, tracking_uri)
