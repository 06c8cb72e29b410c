"""Evaluates a trained checkpoint: `results.json` and `report.html`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ur4rec.data.sequences import Histories
from ur4rec.evaluation.candidates import CANDIDATES
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.evaluation.measure import measure
from ur4rec.evaluation.ranking import Scorer
from ur4rec.evaluation.report import write_report
from ur4rec.evaluation.results import Results, write_results
from ur4rec.training.checkpoints import load_model
from ur4rec.training.scoring import ModelScorer

SASREC = "sasrec"
SASREC_STAGE = "pretrain_sasrec"


class CheckpointSystems:
    """The model of the latest stage in a checkpoint folder, and SASRec as its own stage left it."""

    def __init__(self, checkpoint: Path) -> None:
        self._model = load_model(checkpoint)
        self._sasrec = load_model(checkpoint, stage=SASREC_STAGE)
        self._scorer: ModelScorer | None = None

    def __call__(self, histories: Histories) -> dict[str, Scorer]:
        """Both systems, the memories replayed over `histories`."""
        self._scorer = ModelScorer(self._model, histories)
        return {
            self._model.config.system.value: self._scorer,
            SASREC: ModelScorer(self._sasrec, histories, part="sasrec"),
        }

    def expert_weights(self) -> dict[str, float]:
        """Mean router weight of each expert, for the histories of the last call."""
        assert self._scorer is not None
        return self._scorer.expert_weights()

    def memory_stats(self) -> dict[str, float]:
        """Statistics of the user memories, for the histories of the last call."""
        assert self._scorer is not None
        return self._scorer.memory_stats()


def evaluate(
    sequences: Path,
    checkpoint: Path,
    results: Path,
    report: Path,
    config: EvaluationConfig,
    upstream: Sequence[Path] = (),
) -> Results:
    """Ranks the model, SASRec alone and the baselines, and writes what was found.

    Args:
        sequences: Sequences artifact folder.
        checkpoint: Checkpoint artifact folder of the last stage.
        results: Where `results.json` goes; the sampled protocol puts the folder `candidates` beside it.
        report: Where `report.html` goes.
        config: Protocol, baselines and sizes.
        upstream: Further artifact folders, in the order they were made, whose time and memory are reported.

    Returns:
        What `results.json` holds.

    Raises:
        EvaluationError: There is no test target.
        ArtifactError: An artifact folder is missing or altered.
        HistoryError: The checkpoint folder holds no training history.
        ScoreError: A system returns scores that cannot be ranked.
    """
    candidates = Path(results).parent / CANDIDATES
    outcome, history = measure(sequences, checkpoint, CheckpointSystems(checkpoint), config, upstream, candidates)
    write_results(outcome, results)
    write_report(outcome, history, report)
    return outcome
