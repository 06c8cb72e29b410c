import json
import shutil
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from ur4rec.config import Config
from ur4rec.experiments.stage_cache import CachedStage, StageInputs, obtain_stages, plan_stages
from ur4rec.models.config import SASRecConfig
from ur4rec.training.config import READ_BY, StageConfig
from ur4rec.training.stage_names import STAGES
from ur4rec.training.stages import run_stage

FIRST, SECOND = STAGES[:2]
FINETUNING = {"finetune_lr_scale", "finetune_patience", "adaptive_switch_threshold", "adaptive_min_steps"}
FUSION = {"fusion_method", "fusion_start", "new_item_share", "sasrec_weight", "retriever_weight", "cooccurrence_weight"}
CONTENT = {"content_weight", "content_age_decay"}
SCORER = {"cooccurrence_neighbors", "cooccurrence_smoothing", "cooccurrence_age_decay"}
FIRST_READS = {
    *SASRecConfig.model_fields,
    *("cooccurrence_window", "cooccurrence_gap_decay", "num_negatives", "batch_size", "epochs_per_stage", "patience"),
    *("sasrec_lr", "weight_decay", "warmup_share", "gradient_clip", "ema_decay", "random_window_share"),
    *("windows_per_user", "shuffle_ties", "precision", "seed", "seen_items"),
}
UNREAD = {
    FIRST: StageConfig.model_fields.keys() - FIRST_READS,
    SECOND: {"sasrec_lr", *FINETUNING, *FUSION, *SCORER, *CONTENT},
    STAGES[2]: {"text_control"},
    STAGES[3]: {"text_control", "adaptive_switch_threshold", "adaptive_min_steps"},
}
"""What a stage does not read, given what the stage before it wrote."""


@pytest.fixture
def stage_config(config: Config) -> StageConfig:
    return config.narrow(StageConfig)


def change(config: StageConfig, **fields: Any) -> StageConfig:
    return StageConfig.parse(config.to_dict() | fields)


def alter(config: StageConfig, names: list[str] | set[str]) -> StageConfig:
    """Another value of each of these fields."""
    return change(config, **{name: find_another(getattr(config, name)) for name in names})


def find_another(value: Any) -> Any:
    if isinstance(value, tuple):
        return value[:1]
    if isinstance(value, StrEnum):
        return list(type(value))[1 if value == next(iter(type(value))) else 0]
    if isinstance(value, str):
        return {"exclude": "include", "one": "all", "configured": "fitted"}.get(value, "bf16")
    if isinstance(value, bool):
        return not value
    return value / 2 or 0.25 if isinstance(value, float) else 2 * value or 1


def digests(inputs: StageInputs, config: StageConfig, tmp_path: Path) -> list[str]:
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
def test_the_first_stage_is_shared_by_what_it_does_not_read(
    inputs: StageInputs, stage_config: StageConfig, tmp_path: Path, fields: dict[str, Any]
) -> None:
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
def test_both_pretraining_stages_are_shared_by_what_only_the_fused_score_reads(
    inputs: StageInputs, stage_config: StageConfig, tmp_path: Path, fields: dict[str, Any]
) -> None:
    one, other = (digests(inputs, config, tmp_path) for config in (stage_config, change(stage_config, **fields)))
    assert one[:2] == other[:2]
    assert not set(one[2:]) & set(other[2:])


@pytest.mark.parametrize(
    "fields",
    [{"sasrec_lr": 0.5}, {"max_seq_len": 7}, {"seed": 8}, {"num_negatives": 3}, {"cooccurrence_window": 3}],
    ids=str,
)
def test_what_the_first_stage_reads_changes_all(
    inputs: StageInputs, stage_config: StageConfig, tmp_path: Path, fields: dict[str, Any]
) -> None:
    one, other = (digests(inputs, config, tmp_path) for config in (stage_config, change(stage_config, **fields)))
    assert not set(one) & set(other)


@pytest.mark.parametrize("field", StageConfig.model_fields)
def test_a_field_is_in_the_keys_of_the_first_stage_that_reads_it_and_of_those_after(
    inputs: StageInputs, stage_config: StageConfig, tmp_path: Path, field: str
) -> None:
    one, other = (digests(inputs, config, tmp_path) for config in (stage_config, alter(stage_config, [field])))
    assert {stage for stage in STAGES if field not in READ_BY[stage].model_fields} == {
        stage for stage in STAGES if field in UNREAD[stage]
    }
    first = next(place for place, stage in enumerate(STAGES) if field not in UNREAD[stage])
    assert [a == b for a, b in zip(one, other, strict=True)] == [place < first for place in range(len(STAGES))]


@pytest.fixture(scope="module")
def obtained(inputs: StageInputs, config: Config, tmp_path_factory: pytest.TempPathFactory) -> list[CachedStage]:
    """All stages; not to be altered."""
    return obtain_stages(tmp_path_factory.mktemp("stages"), inputs, config.narrow(StageConfig), STAGES[-1])


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_does_not_read_changes_no_byte_and_no_key(
    inputs: StageInputs, obtained: list[CachedStage], stage_config: StageConfig, tmp_path: Path, stage: str
) -> None:
    """All of it at once."""
    place = STAGES.index(stage)
    before = obtained[place - 1] if place else None
    again = CachedStage(stage, tmp_path, {})
    run_stage(
        stage,
        inputs.sequences,
        again.checkpoint,
        again.memories,
        alter(stage_config, UNREAD[stage]),
        embeddings=inputs.embeddings if place else None,
        previous_checkpoint=before.checkpoint if before else None,
        previous_memories=before.memories if before else None,
        device="cpu",
    )
    for name in (f"{stage}_best.pt", "model_config.json"):
        assert (again.checkpoint / name).read_bytes() == (obtained[place].checkpoint / name).read_bytes()
    name = f"{stage}_memories.pt"
    assert (again.memories / name).read_bytes() == (obtained[place].memories / name).read_bytes()
    assert again.manifest().details["key"] == obtained[place].manifest().details["key"]


@pytest.mark.parametrize(
    ("field", "num_kept"), [("sequences_digest", 0), ("code", 0), ("device", 0), ("embeddings_digest", 1)]
)
def test_another_input_is_another_stage(
    inputs: StageInputs, stage_config: StageConfig, tmp_path: Path, field: str, num_kept: int
) -> None:
    changes: dict[str, Any] = {field: "other"}
    one, other = (digests(each, stage_config, tmp_path) for each in (inputs, replace(inputs, **changes)))
    assert len(set(one) & set(other)) == num_kept


def test_where_the_folders_are_makes_no_difference(
    inputs: StageInputs, stage_config: StageConfig, tmp_path: Path
) -> None:
    moved = replace(inputs, sequences=tmp_path, embeddings=tmp_path)
    assert digests(inputs, stage_config, tmp_path) == digests(moved, stage_config, tmp_path)


def test_a_system_without_sasrec_has_two_stages_that_read_the_texts(
    inputs: StageInputs, stage_config: StageConfig, tmp_path: Path
) -> None:
    stages = plan_stages(tmp_path, inputs, change(stage_config, system="UR4RecMoEMemory"), STAGES[-1])
    assert [stage.stage for stage in stages] == ["pretrain_retriever", "end_to_end"]
    assert [stage.key["embeddings"] for stage in stages] == [inputs.embeddings_digest] * 2
    assert [stage.key["previous"] for stage in stages] == [None, stages[0].digest]


def test_a_stage_is_trained_once_and_again_where_it_is_incomplete(
    inputs: StageInputs, stage_config: StageConfig, tmp_path: Path
) -> None:
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
def test_a_damaged_stage_is_trained_again(
    inputs: StageInputs, stage_config: StageConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    (first,) = obtain_stages(tmp_path, inputs, stage_config, FIRST)
    whole = (first.folder / file).read_bytes()
    (first.folder / file).write_bytes(whole[: len(whole) // 2])
    (again,) = obtain_stages(tmp_path, inputs, stage_config, FIRST)
    assert again.folder == first.folder
    assert again.is_complete
    line = f"{FIRST}: {first.folder} is incomplete or altered, it is trained again"
    assert capsys.readouterr().out.splitlines().count(line) == 1


def test_the_key_says_what_the_digest_covers(inputs: StageInputs, stage_config: StageConfig, tmp_path: Path) -> None:
    (first,) = obtain_stages(tmp_path, inputs, stage_config, FIRST)
    key = json.loads((first.folder / "key.json").read_text())
    assert key["settings"]["sasrec_hidden_dim"] == 8
    assert key["sequences"] == inputs.sequences_digest
    assert key["embeddings"] is None


def test_validation_is_what_the_stage_measured(inputs: StageInputs, stage_config: StageConfig, tmp_path: Path) -> None:
    (first,) = obtain_stages(tmp_path, inputs, stage_config, FIRST)
    history = json.loads((first.checkpoint / "history.json").read_text())
    assert first.validation() == history["stages"][0]["validation"]
