"""Evaluates a trained checkpoint: `results.json` and `report.html`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ur4rec.evaluation.candidates import CANDIDATES
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.evaluation.measure import measure
from ur4rec.evaluation.report import render_report
from ur4rec.evaluation.results import Results, format_results
from ur4rec.evaluation.systems import TrainedSystems
from ur4rec.models.config import Part
from ur4rec.storage.artifacts import write_texts_atomic
from ur4rec.training.checkpoints import check_dataset, load_model, trained_part
from ur4rec.training.config import Stage


def evaluate(
    sequences: Path,
    checkpoint: Path,
    results: Path,
    report: Path,
    config: EvaluationConfig,
    upstream: Sequence[Path] = (),
    candidates: Path | None = None,
) -> Results:
    """Ranks the model, SASRec alone where the system has one, and the baselines, and writes what was found.

    Args:
        sequences: Sequences artifact folder.
        checkpoint: Checkpoint artifact folder of the last stage.
        results: Where `results.json` goes.
        report: Where `report.html` goes.
        config: Protocol, baselines and sizes.
        upstream: Further artifact folders, in the order they were made, whose time and memory are reported.
        candidates: Folder of the sampled protocol; None: `candidates` beside the results.

    Returns:
        What `results.json` holds.

    Raises:
        EvaluationError: There is no test target.
        ArtifactError: An artifact folder is missing or altered.
        CheckpointError: The model was trained on other sequences.
        HistoryError: The checkpoint folder holds no training history.
        ScoreError: A system returns scores that cannot be ranked.
        WriteError: The disk is full, say; both files are as they were.
    """
    candidates = candidates or Path(results).parent / CANDIDATES
    check_dataset(checkpoint, sequences)
    systems = _load_systems(checkpoint)
    outcome, history = measure(sequences, checkpoint, systems, config, upstream, candidates)
    texts = {Path(results): format_results(outcome, results), Path(report): render_report(outcome, history)}
    write_texts_atomic(texts)
    return outcome


def _load_systems(checkpoint: Path) -> TrainedSystems:
    """Of a pretraining stage's checkpoint the part that it trains: the whole is not ready before the stages after."""
    model = load_model(checkpoint)
    part = trained_part(checkpoint, model.config)
    name = model.config.system.value if part is model.config.whole else part.value
    has_first = model.sasrec is not None and part is not Part.SASREC
    sasrec = load_model(checkpoint, stage=Stage.PRETRAIN_SASREC) if has_first else None
    return TrainedSystems(model, sasrec, name, part)
