"""The models of a comparison: loaded, ranked and timed, each as far as it gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ur4rec.data.sequences import Sequences
from ur4rec.evaluation.ranking import ScoreError
from ur4rec.registry.gate.measurements import Cost, Quality, measure_costs, measure_quality
from ur4rec.registry.gate.scoring import LoadedModel, UnscorableError


@dataclass(frozen=True)
class Contender:
    """A version in the registry and where its bundle lies."""

    version: str
    bundle: Path | None = None
    problem: str = ""
    """Why there is no bundle."""


@dataclass
class Side:
    """A model, what was measured of it, and what went wrong."""

    role: str
    version: str
    model: LoadedModel | None = None
    quality: Quality | None = None
    cost: Cost | None = None
    problem: str = ""

    def describe(self, data: Sequences) -> str:
        """A sentence for the notes."""
        if self.quality is None or self.model is None:
            return f"{self.role} version {self.version} was not scored" + (self.problem and f": {self.problem}")
        known = int(np.isin(data.item_ids[1:], list(self.model.bundle.item_index)).sum())
        return (
            f"{self.role} version {self.version}: NDCG@10 {self.quality.ndcg.mean():.4f}; "
            f"knows {known:,} of {data.num_items:,} items"
        )


def load_side(role: str, contender: Contender, device: str = "cpu") -> Side:
    """Loads a model; what cannot be loaded is a problem of the side, not an error."""
    side = Side(role, contender.version, problem=contender.problem)
    if contender.bundle is not None:
        try:
            side.model = LoadedModel(contender.bundle, device)
        except UnscorableError as error:
            side.problem = str(error)
    return side


def measure_sides(sides: Sequence[Side], data: Sequences, rows: np.ndarray, num_requests: int) -> None:
    """Ranks the targets at `rows` with every model that is loaded, and times those that could be ranked.

    Args:
        sides: Get their quality and cost, or a problem.
        data: The test data.
        rows: Positions of the targets.
        num_requests: Users whose latency is taken.
    """
    for side in sides:
        if side.model is not None and len(rows):
            _rank(side, side.model, data, rows)
    able = [(side, side.model) for side in sides if side.model is not None and not side.problem]
    costs = measure_costs([model for _, model in able], num_requests)
    for (side, _), cost in zip(able, costs, strict=True):
        side.cost = cost


def _rank(side: Side, model: LoadedModel, data: Sequences, rows: np.ndarray) -> None:
    try:
        side.quality = measure_quality(data, rows, model.scorer(data, data.histories("test")))
    except (UnscorableError, ScoreError) as error:
        side.problem = str(error)
