"""Reads `history.json`, the curves that the training leaves in a checkpoint folder."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from ur4rec.evaluation.results import explain_problems

HISTORY = "history.json"


class HistoryError(ValueError):
    """A `history.json` that is missing or not one."""


class Epoch(BaseModel):
    """One point of the curves; what the training did not measure, or found to be NaN, is not drawn."""

    model_config = ConfigDict(frozen=True)

    epoch: int
    loss: float | None = None
    validation_loss: float | None = None
    ndcg: float | None = Field(None, alias="ndcg@10")


class StageHistory(BaseModel):
    """One training stage."""

    model_config = ConfigDict(frozen=True)

    stage: str
    seconds: FiniteFloat
    epochs: int
    best_epoch: int
    validation: dict[str, FiniteFloat]
    """Metrics of the best epoch."""
    series: list[Epoch]


class TrainingHistory(BaseModel):
    """All stages so far, in order."""

    model_config = ConfigDict(frozen=True)

    stages: list[StageHistory]

    @property
    def validation(self) -> dict[str, dict[str, float]]:
        """Stage → metric of its best epoch."""
        return {stage.stage: dict(stage.validation) for stage in self.stages}


def read_history(path: Path) -> TrainingHistory:
    """Reads the file of that name in a checkpoint folder.

    Raises:
        HistoryError: The file is missing, or a key is missing or of the wrong kind; names both.
    """
    if not path.is_file():
        raise HistoryError(f"{path}: not found; expected a checkpoint folder that a training stage wrote")
    try:
        return TrainingHistory.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise HistoryError(f"{path}: {explain_problems(error)}; train again") from None
