"""A task for every stage: what a system lacks hands on what came before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ur4rec.models.config import System
from ur4rec.storage.artifacts import MANIFEST, ArtifactError, read_artifact, write_artifact
from ur4rec.training import stage_task
from ur4rec.training.config import StageConfig
from ur4rec.training.stage_task import run_stage_task
from ur4rec.training.trainer import StageRecord

ALONE = StageConfig(system=System.MOE_MEMORY)


def write_folder(path: Path, producer: str) -> Path:
    with write_artifact(path, producer, ALONE) as writer:
        (writer.folder / "logs").mkdir()
        (writer.folder / "logs" / "weights.pt").write_text(producer)
    return path


@pytest.fixture
def before(tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint and memories of the stage before."""
    return write_folder(tmp_path / "before", "pretrain_retriever"), write_folder(tmp_path / "kept", "memories")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What trainings are told; none takes place."""
    found: list[dict[str, Any]] = []

    def note(stage: str, *places: Path | StageConfig, **given: Any) -> StageRecord:
        found.append({"stage": stage, **given})
        return StageRecord(stage, epochs=3)

    monkeypatch.setattr(stage_task, "run_stage", note)
    return found


def run(stage: str, folder: Path, config: StageConfig = ALONE, **given: Any) -> StageRecord:
    return run_stage_task(stage, folder / "sequences", folder / "checkpoint", folder / "memories", config, **given)


def test_what_came_before_is_handed_on_byte_by_byte(
    tmp_path: Path, before: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):  # a task may be tried again
        record = run("joint_finetune", tmp_path, previous_checkpoint=before[0], previous_memories=before[1])
        assert record == StageRecord("joint_finetune")
    for source, name in zip(before, ("checkpoint", "memories"), strict=True):
        read_artifact(tmp_path / name)
        for file in (MANIFEST, "logs/weights.pt"):
            assert (tmp_path / name / file).read_bytes() == (source / file).read_bytes()
    assert "joint_finetune: UR4RecMoEMemory has no such stage" in capsys.readouterr().out


def test_what_is_damaged_is_not_handed_on(tmp_path: Path, before: tuple[Path, Path]) -> None:
    (before[0] / "logs" / "weights.pt").write_text("altered")
    with pytest.raises(ArtifactError, match=r"weights\.pt: sha256 differs"):
        run("joint_finetune", tmp_path, previous_checkpoint=before[0], previous_memories=before[1])


def test_before_the_first_stage_there_is_nothing_and_that_stage_asks_for_nothing(
    tmp_path: Path, calls: list[dict[str, Any]]
) -> None:
    run("pretrain_sasrec", tmp_path)
    for name in ("checkpoint", "memories"):
        manifest = read_artifact(tmp_path / name)
        assert (manifest.files, manifest.config) == ({}, {"system": "UR4RecMoEMemory"})
    assert not calls
    previous: dict[str, Any] = {
        "previous_checkpoint": tmp_path / "checkpoint",
        "previous_memories": tmp_path / "memories",
    }
    run("pretrain_retriever", tmp_path / "next", **previous)
    assert calls[0]["previous_checkpoint"] is calls[0]["previous_memories"] is None


@pytest.mark.parametrize("system", System)
def test_a_stage_that_the_system_has_is_trained_and_goes_on_from_its_state(
    tmp_path: Path, before: tuple[Path, Path], calls: list[dict[str, Any]], system: System
) -> None:
    given: dict[str, Any] = {
        "previous_checkpoint": before[0],
        "previous_memories": before[1],
        "state": "gs://bucket/state",
    }
    assert run("end_to_end", tmp_path, StageConfig(system=system), **given).epochs == 3
    assert calls[0]["resume"]
    assert {name: calls[0][name] for name in given} == given
