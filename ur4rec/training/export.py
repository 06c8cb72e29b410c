"""Copies artifact folders to the file names a user of the old training script knows."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType

from ur4rec.storage.artifacts import ArtifactError
from ur4rec.storage.temporaries import replacing
from ur4rec.training.stage_names import STAGES

CHECKPOINTS = ("*_best.pt", "final_model.pt", "model_config.json", "history.json")
MEMORIES_PATTERN = "*_memories.pt"
LOGS = "logs"
EVENT_FILES = "events.out.tfevents.*"
RESULTS = "results.json"
REPORT = "report.html"
WEIGHTS = {f"{name}.pt" for stage in STAGES for name in (f"{stage}_best", f"{stage}_memories")}
FINAL = {"final_model.pt", "final_memories.pt"}


def export_outputs(
    checkpoint: Path,
    memories: Sequence[Path],
    results: Path | None,
    report: Path | None,
    output_dir: Path,
    others: Mapping[str, Path] = MappingProxyType({}),
) -> list[Path]:
    """Fills the outputs folder with all files, or none where one of them cannot be written.

    What an older run left under the names of stages that this one does not have is removed, and so are its event files,
    which TensorBoard would draw into the new curves.

    Args:
        checkpoint: Folder of the last stage; it holds the weights, history and logs of all stages so far.
        memories: Memories folder of every stage, in order.
        results: `results.json`, or None where nothing was evaluated.
        report: The HTML report, or None.
        output_dir: Where the files go; other files there stay as they are.
        others: Name → further file to copy.

    Returns:
        The files that were written, in the order of writing.

    Raises:
        ArtifactError: A source is missing, or the checkpoint folder holds no weights.
        WriteError: The disk is full, say; all files are as they were.
    """
    output_dir = Path(output_dir)
    copies = _plan_copies(Path(checkpoint), memories, results, report)
    copies += [(source, name) for name, source in others.items()]
    written = [output_dir / name for _, name in copies]
    with ExitStack() as places:
        for (source, _), target in zip(copies, written, strict=True):
            shutil.copyfile(source, places.enter_context(replacing(target)))
    named = {output_dir / name for name in WEIGHTS | FINAL}
    for stale in {*(output_dir / LOGS).rglob(EVENT_FILES), *named} - set(written):
        stale.unlink(missing_ok=True)
    return written


def _plan_copies(
    checkpoint: Path, memories: Sequence[Path], results: Path | None, report: Path | None
) -> list[tuple[Path, str]]:
    if not list(checkpoint.glob("*_best.pt")):
        raise ArtifactError(f"{checkpoint}: holds no *_best.pt; expected the checkpoint of a training stage")
    copies = [(file, file.name) for pattern in CHECKPOINTS for file in sorted(checkpoint.glob(pattern))]
    copies += [(file, file.name) for folder in memories for file in _memory_files(Path(folder))]
    logs = [path for path in sorted((checkpoint / LOGS).rglob("*")) if path.is_file()]
    copies += [(file, file.relative_to(checkpoint).as_posix()) for file in logs]
    for source, name in ((results, RESULTS), (report, REPORT)):
        if source is not None:
            copies.append((_existing(Path(source)), name))
    return copies


def _memory_files(folder: Path) -> list[Path]:
    files = sorted(folder.glob(MEMORIES_PATTERN))
    if not files:
        raise ArtifactError(f"{folder}: holds no {MEMORIES_PATTERN}; expected the memories folder of a training stage")
    return files


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ArtifactError(f"{path}: not found; run the evaluation first")
    return path
