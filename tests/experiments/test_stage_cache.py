import json
import shutil
from dataclasses import replace

import pytest
import torch

from ur4rec.experiments.stage_cache import obtain_stages, plan_stages, stage_settings
from ur4rec.training.config import StageConfig
from ur4rec.training.stage_names import STAGES
from ur4rec.training.stages import run_stage

FIRST, SECOND = STAGES[:2]
UNREAD = {
    "retriever_lr": 0.5,
    "finetune_lr_scale": 0.5,
    "adaptive_switch_threshold": 0.5,
    "adaptive_min_steps": 3,
    "retriever_output_dim": 4,
    "moe_num_heads": 1,
    "moe_dropout": 0.5,
    "moe_num_proxies": 1,
    "moe_experts": ["item_description"],
    "text_components": 3,
    "id_dropout": 0.5,
    "memory_dim": 3,
    "max_memory_size": 2,
    "update_trigger": "explicit",
    "interaction_threshold": 2,
    "drift_threshold": 0.1,
    "time_threshold_s": 5,
    "decay_factor": 0.5,
    "fusion_method": "weighted",
    "sasrec_weight": 0.3,
    "retriever_weight": 0.3,
    "cooccurrence_weight": 0.3,
    "cooccurrence_neighbors": 3,
    "cooccurrence_smoothing": 5,
    "cooccurrence_age_decay": 0.5,
    "system": "UR4RecV2",
    "text_control": "shuffled",
    "alignment_weight": 0.5,
    "load_balance_weight": 0.5,
}
"""Another value of every field that the first stage is said not to read."""


@pytest.fixture
def stage_config(config):
    return config.narrow(StageConfig)


def change(config, **fields):
    return StageConfig.parse(config.to_dict() | fields)


def test_a_system_without_sasrec_hands_its_fusion_on(stage_config):
    config = change(stage_config, system="UR4RecMoEMemory", fusion_method="weighted")
    assert stage_settings(SECOND, config)["fusion_method"] == "weighted"
    assert "fusion_method" not in stage_settings(SECOND, stage_config)


def digests(inputs, config, tmp_path):
    return [stage.digest for stage in plan_stages(tmp_path, inputs, config, STAGES[-1])]


@pytest.mark.parametrize(
    "fields",
    [
        {"moe_num_proxies": 0},
        {"max_memory_size": 0},
        {"retriever_lr": 0.5},
        {"alignment_weight": 0.5},
        {"text_control": "shuffled"},
    ],
    ids=str,
)
def test_the_first_stage_is_shared_by_what_it_does_not_read(inputs, stage_config, tmp_path, fields):
    one, other = (digests(inputs, config, tmp_path) for config in (stage_config, change(stage_config, **fields)))
    assert one[0] == other[0]
    assert not set(one[1:]) & set(other[1:])


@pytest.mark.parametrize(
    "fields",
    [
        {"fusion_method": "weighted"},
        {"retriever_weight": 0},
        {"cooccurrence_neighbors": 3},
        {"finetune_lr_scale": 0.5},
        {"adaptive_min_steps": 3},
    ],
    ids=str,
)
def test_both_pretraining_stages_are_shared_by_what_only_the_fused_score_reads(inputs, stage_config, tmp_path, fields):
    one, other = (digests(inputs, config, tmp_path) for config in (stage_config, change(stage_config, **fields)))
    assert one[:2] == other[:2]
    assert not set(one[2:]) & set(other[2:])


@pytest.mark.parametrize(
    "fields",
    [{"sasrec_lr": 0.5}, {"max_seq_len": 7}, {"seed": 8}, {"num_negatives": 3}, {"cooccurrence_window": 3}],
    ids=str,
)
def test_what_the_first_stage_reads_changes_all(inputs, stage_config, tmp_path, fields):
    one, other = (digests(inputs, config, tmp_path) for config in (stage_config, change(stage_config, **fields)))
    assert not set(one) & set(other)


def test_no_field_that_is_left_out_changes_the_first_stage(sequences, stage_config, tmp_path):
    """All of them at once; without dropout no random number follows those that initialize the model."""
    plain = change(stage_config, sasrec_dropout=0)
    unread = stage_config.to_dict().keys() - stage_settings(FIRST, stage_config).keys()
    assert unread == UNREAD.keys(), "decide whether the first stage reads the new field: stage_settings, or UNREAD here"
    weights = []
    for name, config in (("plain", plain), ("changed", change(plain, **UNREAD))):
        run_stage(FIRST, sequences, tmp_path / name, tmp_path / f"{name}_memories", config, device="cpu")
        state = torch.load(tmp_path / name / f"{FIRST}_best.pt", weights_only=True)
        weights.append({key: value for key, value in state.items() if key.startswith("sasrec.")})
    assert weights[0].keys() == weights[1].keys() != set()
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_the_second_stage_leaves_the_fusion_to_the_third(sequences, embeddings, stage_config, tmp_path):
    """Another fusion, other neighbours: the same weights of both encoders after stage two."""
    first = tmp_path / "first"
    run_stage(FIRST, sequences, first, tmp_path / "first_memories", stage_config, device="cpu")
    unread = stage_config.to_dict().keys() - stage_settings(SECOND, stage_config).keys()
    plain = change(stage_config, sasrec_dropout=0, moe_dropout=0, id_dropout=0)
    weights = []
    for name, config in (("plain", plain), ("changed", change(plain, **{key: UNREAD[key] for key in unread}))):
        folders = tmp_path / name, tmp_path / f"{name}_memories"
        run_stage(SECOND, sequences, *folders, config, embeddings, first, tmp_path / "first_memories", "cpu")
        state = torch.load(tmp_path / name / f"{SECOND}_best.pt", weights_only=True)
        weights.append({key: value for key, value in state.items() if key.startswith(("sasrec.", "retriever."))})
    assert weights[0].keys() == weights[1].keys() != set()
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_the_last_stages_read_everything(stage_config):
    assert stage_settings(STAGES[2], stage_config) == stage_settings(STAGES[3], stage_config) == stage_config.to_dict()


@pytest.mark.parametrize(
    ("field", "num_kept"), [("sequences_digest", 0), ("code", 0), ("device", 0), ("embeddings_digest", 1)]
)
def test_another_input_is_another_stage(inputs, stage_config, tmp_path, field, num_kept):
    one, other = (digests(each, stage_config, tmp_path) for each in (inputs, replace(inputs, **{field: "other"})))
    assert len(set(one) & set(other)) == num_kept


def test_where_the_folders_are_makes_no_difference(inputs, stage_config, tmp_path):
    moved = replace(inputs, sequences=tmp_path, embeddings=tmp_path)
    assert digests(inputs, stage_config, tmp_path) == digests(moved, stage_config, tmp_path)


def test_a_system_without_sasrec_has_two_stages_that_read_the_texts(inputs, stage_config, tmp_path):
    stages = plan_stages(tmp_path, inputs, change(stage_config, system="UR4RecMoEMemory"), STAGES[-1])
    assert [stage.stage for stage in stages] == ["pretrain_retriever", "end_to_end"]
    assert [stage.key["embeddings"] for stage in stages] == [inputs.embeddings_digest] * 2
    assert [stage.key["previous"] for stage in stages] == [None, stages[0].digest]


def test_a_stage_is_trained_once_and_again_where_it_is_incomplete(inputs, stage_config, tmp_path):
    _, second = obtain_stages(tmp_path, inputs, stage_config, SECOND)
    manifest = second.checkpoint / "manifest.json"
    before = manifest.stat().st_mtime_ns
    obtain_stages(tmp_path, inputs, stage_config, SECOND)
    assert manifest.stat().st_mtime_ns == before
    shutil.rmtree(second.memories)
    assert not second.is_complete
    obtain_stages(tmp_path, inputs, stage_config, SECOND)
    assert second.is_complete
    assert manifest.stat().st_mtime_ns > before


@pytest.mark.parametrize(
    "file", ["checkpoint/history.json", "checkpoint/manifest.json", f"memories/{FIRST}_memories.pt"]
)
def test_a_damaged_stage_is_trained_again(inputs, stage_config, tmp_path, capsys, file):
    (first,) = obtain_stages(tmp_path, inputs, stage_config, FIRST)
    whole = (first.folder / file).read_bytes()
    (first.folder / file).write_bytes(whole[: len(whole) // 2])
    (again,) = obtain_stages(tmp_path, inputs, stage_config, FIRST)
    assert again.folder == first.folder
    assert again.is_complete
    line = f"{FIRST}: {first.folder} is incomplete or altered, it is trained again"
    assert capsys.readouterr().out.splitlines().count(line) == 1


def test_the_key_says_what_the_digest_covers(inputs, stage_config, tmp_path):
    (first,) = obtain_stages(tmp_path, inputs, stage_config, FIRST)
    key = json.loads((first.folder / "key.json").read_text())
    assert key["settings"]["sasrec_hidden_dim"] == 8
    assert key["sequences"] == inputs.sequences_digest
    assert key["embeddings"] is None


def test_whoever_trains_a_shared_stage_leaves_the_same_weights(inputs, stage_config, tmp_path):
    """The retriever's shape decides how many random numbers are drawn before training."""
    weights = []
    for number, fields in enumerate(({}, {"moe_num_proxies": 0, "retriever_output_dim": 4})):
        (first,) = obtain_stages(tmp_path / str(number), inputs, change(stage_config, **fields), FIRST)
        weights.append(torch.load(first.checkpoint / f"{FIRST}_best.pt", weights_only=True))
    assert weights[0].keys() == weights[1].keys() != set()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_validation_is_what_the_stage_measured(inputs, stage_config, tmp_path):
    (first,) = obtain_stages(tmp_path, inputs, stage_config, FIRST)
    history = json.loads((first.checkpoint / "history.json").read_text())
    assert first.validation() == history["stages"][0]["validation"]
