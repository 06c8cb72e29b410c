from pathlib import Path

import pytest

from ur4rec.storage.artifacts import ArtifactError
from ur4rec.training.export import export_outputs

STAGES = ("pretrain_sasrec", "pretrain_retriever", "joint_finetune", "end_to_end")
ELEVEN = {f"{stage}_{kind}.pt" for stage in STAGES for kind in ("best", "memories")} | {
    "final_model.pt",
    "final_memories.pt",
    "results.json",
}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, list[Path]]:
    checkpoint = tmp_path / "checkpoint"
    for name in [*(f"{stage}_best.pt" for stage in STAGES), "final_model.pt", "model_config.json", "history.json"]:
        write(checkpoint / name, f"new {name}")
    write(checkpoint / "manifest.json", "{}")
    write(checkpoint / "logs/end_to_end/events.out.tfevents.2", "curve")
    memories = [tmp_path / "memories" / stage for stage in STAGES]
    for stage, folder in zip(STAGES, memories, strict=True):
        write(folder / f"{stage}_memories.pt", stage)
        write(folder / "manifest.json", "{}")
    write(memories[-1] / "final_memories.pt", "final")
    return checkpoint, memories


def test_the_eleven_files_and_the_rest_have_their_names(tmp_path: Path, folders: tuple[Path, list[Path]]) -> None:
    results = write(tmp_path / "kfp/output-7", "{}")
    report = write(tmp_path / "kfp/output-8", "<html>")
    written = export_outputs(*folders, results, report, tmp_path / "outputs")
    names = {path.relative_to(tmp_path / "outputs").as_posix() for path in written}
    extra = {"report.html", "model_config.json", "history.json", "logs/end_to_end/events.out.tfevents.2"}
    assert names == ELEVEN | extra
    assert (tmp_path / "outputs/results.json").read_text() == "{}"
    assert (tmp_path / "outputs/joint_finetune_memories.pt").read_text() == "joint_finetune"
    assert not list((tmp_path / "outputs").rglob("*.tmp"))


def test_old_curves_go_and_other_files_stay(tmp_path: Path, folders: tuple[Path, list[Path]]) -> None:
    old_curve = write(tmp_path / "outputs/logs/end_to_end/events.out.tfevents.1", "old")
    note = write(tmp_path / "outputs/note.txt", "mine")
    model = write(tmp_path / "outputs/final_model.pt", "old")
    export_outputs(*folders, None, None, tmp_path / "outputs")
    assert not old_curve.exists()
    assert note.read_text() == "mine"
    assert model.read_text() == "new final_model.pt"


def test_stages_that_this_run_does_not_have_leave_nothing_of_an_older_one(
    tmp_path: Path, folders: tuple[Path, list[Path]]
) -> None:
    checkpoint, memories = folders
    export_outputs(checkpoint, memories, None, None, tmp_path / "outputs")
    for stage in ("pretrain_sasrec", "joint_finetune"):
        (checkpoint / f"{stage}_best.pt").unlink()
    export_outputs(checkpoint, memories[1::2], None, None, tmp_path / "outputs")
    assert {path.name for path in (tmp_path / "outputs").glob("*.pt")} == {
        *(f"{stage}_{kind}.pt" for stage in STAGES[1::2] for kind in ("best", "memories")),
        "final_model.pt",
        "final_memories.pt",
    }


def test_a_single_stage_exports_what_it_has(tmp_path: Path, folders: tuple[Path, list[Path]]) -> None:
    checkpoint, memories = folders
    for name in ("final_model.pt", *(f"{stage}_best.pt" for stage in STAGES[1:])):
        (checkpoint / name).unlink()
    names = {path.name for path in export_outputs(checkpoint, memories[:1], None, None, tmp_path / "outputs")}
    assert {"pretrain_sasrec_best.pt", "pretrain_sasrec_memories.pt"} < names
    assert "results.json" not in names


@pytest.mark.parametrize("missing", ["checkpoint", "memories", "results"])
def test_a_missing_source_is_named_and_nothing_is_written(
    tmp_path: Path, folders: tuple[Path, list[Path]], missing: str
) -> None:
    checkpoint, memories = folders
    empty = tmp_path / "empty"
    empty.mkdir()
    arguments = {
        "checkpoint": (empty, memories, None),
        "memories": (checkpoint, [*memories[:3], empty], None),
        "results": (checkpoint, memories, empty / "results.json"),
    }[missing]
    with pytest.raises(ArtifactError, match="empty"):
        export_outputs(*arguments, None, tmp_path / "outputs")
    assert not (tmp_path / "outputs").exists()


def test_a_copy_that_fails_leaves_every_old_file(tmp_path: Path, folders: tuple[Path, list[Path]]) -> None:
    target = write(tmp_path / "outputs/final_model.pt", "old")
    with pytest.raises(FileNotFoundError):
        export_outputs(*folders, None, None, tmp_path / "outputs", {"verdict.json": tmp_path / "missing"})
    assert target.read_text() == "old"
    assert list((tmp_path / "outputs").iterdir()) == [target]
