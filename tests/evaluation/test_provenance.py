import platform
from typing import Any

import pytest

from ur4rec.evaluation.history import StageHistory, TrainingHistory
from ur4rec.evaluation.provenance import describe_versions, trace
from ur4rec.storage.artifacts import Manifest


def make_manifest(producer: str, config: dict[str, Any], seconds: float, megabytes: float) -> Manifest:
    return Manifest(
        producer=producer,
        config=config,
        config_digest="",
        files={},
        inputs={},
        details={},
        seconds=seconds,
        peak_memory_mb=megabytes,
    )


@pytest.fixture
def history() -> TrainingHistory:
    stages = [
        StageHistory(stage=name, seconds=seconds, epochs=1, best_epoch=1, validation={}, series=[])
        for name, seconds in (("pretrain_sasrec", 10.0), ("end_to_end", 20.0))
    ]
    return TrainingHistory(stages=stages)


def test_merges_time_memory_and_configuration(history: TrainingHistory) -> None:
    origin = trace(
        [
            make_manifest("preprocess_sequences", {"split": "time", "min_seq_len": 3}, 1.0, 100.0),
            make_manifest("end_to_end", {"seed": 7, "batch_size": 64}, 21.0, 300.0),
            make_manifest("end_to_end", {"seed": 7, "batch_size": 128}, 2.0, 350.0),
        ],
        history,
    )
    assert origin.config == {"split": "time", "min_seq_len": 3, "seed": 7, "batch_size": 128}
    assert origin.seeds == [7]
    settings = {"text_settings": {"snapshot_base": 2, "max_sentences": 1}}
    embeddings = make_manifest("encode_text", {"max_sentences": 6}, 1.0, 1.0).model_copy(update={"details": settings})
    assert trace([embeddings], history).config == {"snapshot_base": 2, "max_sentences": 6}
    assert list(origin.timings_s.items()) == [
        ("preprocess_sequences", 1.0),
        ("pretrain_sasrec", 10.0),  # from the history: its artifact is not at hand
        ("end_to_end", 21.0),  # the longest of the stage's three figures
    ]
    assert origin.peak_memory_mb == {"preprocess_sequences": 100.0, "end_to_end": 350.0}


def test_a_training_without_seed_has_none(history: TrainingHistory) -> None:
    assert trace([], history).seeds == []


def test_versions_name_python_and_torch() -> None:
    versions = describe_versions()
    assert versions["python"] == platform.python_version()
    assert {"ur4rec", "torch", "numpy"} <= set(versions)
