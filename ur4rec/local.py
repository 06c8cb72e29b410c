"""All stages, the evaluation and the outputs folder in one call, without a pipeline."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ur4rec.config import Config
from ur4rec.data.sequences import load_sequences
from ur4rec.evaluation.candidates import CANDIDATES
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.evaluation.evaluate import evaluate
from ur4rec.evaluation.results import Results
from ur4rec.storage.temporaries import temporary_sibling
from ur4rec.text.embeddings import check_embeddings
from ur4rec.training.config import Stage, StageConfig
from ur4rec.training.export import REPORT, RESULTS, export_outputs
from ur4rec.training.stages import StageSummary, run_stage, stages_of
from ur4rec.training.warm_start import WarmStart

STAGES_FOLDER = "stages"
STATE_FOLDER = "resume"


@dataclass(frozen=True)
class TrainingRun:
    """What a run left behind."""

    summaries: dict[str, StageSummary]
    results: Results
    checkpoint: Path
    memories: Path
    files: list[Path]


def train_all(
    sequences: Path,
    embeddings: Path,
    output_dir: Path,
    config: Config,
    device: str = "auto",
    resume: bool = False,
    warm_start: WarmStart | None = None,
) -> TrainingRun:
    """Trains the stages of the system, evaluates, and exports the files that a user of the old script knows.

    Args:
        sequences: Sequences artifact folder.
        embeddings: Text embeddings artifact folder; `pretrain_sasrec` does not read it.
        output_dir: Gets the exported files, `report.html`, and the artifact folder of each stage under `stages/`.
        config: Everything the stages and the evaluation read.
        device: `auto`, `cpu` or `cuda`.
        resume: Whether to go on where an earlier run with the same inputs and settings was stopped.
        warm_start: Trained model that the first stage begins with; None: from scratch.

    Returns:
        A summary of each stage, the results and the last stage's folders.

    Raises:
        ArtifactError: An input is missing or altered, or the embeddings are of other sequences.
    """
    output_dir = Path(output_dir)
    check_embeddings(embeddings, load_sequences(sequences))
    summaries: dict[str, StageSummary] = {}
    checkpoints: list[Path] = []
    memories: list[Path] = []
    for stage in stages_of(config):
        folder = output_dir / STAGES_FOLDER / stage
        summaries[stage] = run_stage(
            stage,
            sequences,
            folder / "checkpoint",
            folder / "memories",
            config.narrow(StageConfig),
            embeddings=None if stage == Stage.PRETRAIN_SASREC else embeddings,
            previous_checkpoint=checkpoints[-1] if checkpoints else None,
            previous_memories=memories[-1] if memories else None,
            device=device,
            state=output_dir / STATE_FOLDER,
            resume=resume,
            warm_start=None if checkpoints else warm_start,
        )
        checkpoints.append(folder / "checkpoint")
        memories.append(folder / "memories")
    with temporary_sibling(output_dir / RESULTS) as evaluation:
        measured = evaluation / RESULTS, evaluation / REPORT
        section = config.narrow(EvaluationConfig)
        upstream = [embeddings, *checkpoints[:-1]]
        results = evaluate(sequences, checkpoints[-1], *measured, section, upstream, output_dir / CANDIDATES)
        files = export_outputs(checkpoints[-1], memories, *measured, output_dir)
    shutil.rmtree(output_dir / STATE_FOLDER, ignore_errors=True)
    return TrainingRun(summaries, results, checkpoints[-1], memories[-1], files)
