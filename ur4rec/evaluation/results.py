"""`results.json`: what an evaluation found, in keys that stay."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, FiniteFloat, NonNegativeInt, ValidationError, model_validator

from ur4rec.ranking.bootstrap import Estimate, Figure
from ur4rec.ranking.metrics import HIGHEST

HEADLINE_METRICS = ("ndcg@10", "hit@10", "mrr")

SystemMetrics = dict[str, dict[str, Estimate]]
"""System → metric → estimate."""
ListFigures = dict[str, dict[str, Figure]]
"""System → metric of its lists → value, with an interval where it is a mean over users."""


class ResultsError(ValueError):
    """A results file that is missing, incomplete or holds a number that is none."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Dataset(_Part):
    """What was evaluated on."""

    name: str
    digest: str
    num_users: NonNegativeInt
    num_items: NonNegativeInt
    num_interactions: NonNegativeInt
    later_interactions_share: FiniteFloat
    """Share of the other users' training interactions that are later than a test target, averaged over targets."""


class SampledCandidates(_Part):
    """What the target was ranked among."""

    num_candidates: int
    """Items besides the target; fewer for a user who has not left so many untouched."""
    seed: int
    sha256: dict[str, str]
    """Horizon → sha256 of the candidate file."""


class Protocol(_Part):
    """How ranks were measured; results of different protocols cannot be compared."""

    split: str
    eval_protocol: str
    seen_items: Literal["excluded", "included"] = "excluded"
    """Whether what the user has had competes in the catalogue; it always may be the target."""
    ties: Literal["mean_over_places"] = "mean_over_places"
    """A metric is its mean over the places that the tied items can take."""
    drop_last: NonNegativeInt = 0
    """How many of each user's newest interactions were dropped before the split."""
    candidates: SampledCandidates | None = None
    """The sample that the sampled protocol ranks; None: the whole catalogue is ranked."""

    def __str__(self) -> str:
        dropped = f" without the newest {self.drop_last}" if self.drop_last else ""
        sample = f" of the target and {self.candidates.num_candidates} others" if self.candidates else ""
        return (
            f"{self.split}{dropped}, {self.eval_protocol} ranking{sample}, "
            f"seen items {self.seen_items}, ties {self.ties}"
        )


class Slice(_Part):
    """Test metrics of a part of the users."""

    by: str
    """A key of `SLICES`."""
    name: str
    """`q1` (lowest quarter) to `q4`, `cold` where the target has no interaction in training, or a range: `5-9`."""
    low: int
    high: int
    """Smallest and largest value in the slice."""
    num_users: int
    test: SystemMetrics
    differences: SystemMetrics = {}
    """Other system → headline metric → the model's minus that system's; empty in the files of older releases."""
    expert_weights: dict[str, FiniteFloat]
    """Mean over the slice's users."""


class Results(_Part):
    """Everything the report shows, except the training curves."""

    dataset: Dataset
    protocol: Protocol
    config: dict[str, Any]
    seeds: list[int]
    test: SystemMetrics
    """The evaluated model comes first."""
    validation: dict[str, dict[str, FiniteFloat]]
    """Stage → metric of the best epoch, as the training measured it."""
    memory: dict[str, FiniteFloat]
    expert_weights: dict[str, FiniteFloat]
    timings_s: dict[str, FiniteFloat]
    versions: dict[str, str]
    validation_systems: dict[str, dict[str, FiniteFloat]]
    """System → metric on the validation targets, measured again by this evaluation."""
    differences: SystemMetrics
    """Other system → the model's metric minus that system's, users paired."""
    lists: ListFigures = {}
    """What the best items of the whole catalogue come to at the test; empty in the files of older releases."""
    slices: list[Slice]
    peak_memory_mb: dict[str, FiniteFloat]
    notes: list[str]
    """What a reader should know before comparing, such as a baseline that was left out."""

    @model_validator(mode="after")
    def _check_metrics(self) -> Self:
        if not self.test:
            raise ValueError("test names no system")
        expected = self.test[self.model_name].keys() | set(HEADLINE_METRICS)
        for system, metrics in self.test.items():
            if metrics.keys() != expected:
                raise ValueError(f"test.{system} holds {list(metrics)}, expected {sorted(expected)}")
            for name, found in metrics.items():
                highest = HIGHEST.get(name, math.inf)
                if not 0 <= min(found.value, *found.ci95) <= max(found.value, *found.ci95) <= highest:
                    expected_range = f"expected 0 to {highest:g}"
                    raise ValueError(f"test.{system}.{name} is {found.value} in {list(found.ci95)}, {expected_range}")
        if unknown := self.lists.keys() - self.test.keys():
            raise ValueError(f"lists names {sorted(unknown)}, expected systems of test")
        return self

    @property
    def model_name(self) -> str:
        """The evaluated system."""
        return next(iter(self.test))

    @property
    def list_metrics(self) -> list[str]:
        """The metrics of lists that any system has."""
        return list(dict.fromkeys(name for figures in self.lists.values() for name in figures))

    def headline(self) -> dict[str, float]:
        """The few numbers for a dashboard: the model's headline metrics and the other systems' NDCG@10."""
        model, *others = self.test
        numbers = {name: self.test[model][name].value for name in HEADLINE_METRICS}
        return numbers | {f"{system}/ndcg@10": self.test[system]["ndcg@10"].value for system in others}

    def tabulate_slices(
        self, by: str, metric: str = HEADLINE_METRICS[0]
    ) -> tuple[list[str], list[tuple[str | float, ...]]]:
        """Return the columns and rows of one metric by system and by slice of a kind; no row where there is none."""
        parts = [part for part in self.slices if part.by == by]
        columns = ["system", *(f"{part.name} (n={part.num_users:,})" for part in parts)]
        systems = self.test if parts else ()
        return columns, [(system, *(part.test[system][metric].value for part in parts)) for system in systems]

    def test_figures(self) -> Iterator[tuple[str, str, Figure]]:
        """Yield system, metric and figure of everything that was measured at the test, of ranks and of lists."""
        for system, metrics in self.test.items():
            for name, figure in (metrics | self.lists.get(system, {})).items():
                yield system, name, figure


def format_results(results: Results, path: Path) -> str:
    """What `results.json` at a path holds.

    Raises:
        ResultsError: A number is NaN or an infinity; names the path.
    """
    try:
        text = json.dumps(results.model_dump(), indent=2, allow_nan=False, ensure_ascii=False)
    except ValueError:
        raise ResultsError(f"{path}: a number is NaN or an infinity; every number must be finite") from None
    return text + "\n"


def load_results(path: Path) -> Results:
    """Reads and validates a `results.json`.

    Raises:
        ResultsError: The file is missing, or a key is missing, unknown or not a finite number; names both.
    """
    path = Path(path)
    if not path.is_file():
        raise ResultsError(f"{path}: not found; run the evaluation first")
    try:
        return Results.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ResultsError(f"{path}: {explain_problems(error)}; run the evaluation again") from None


def explain_problems(error: ValidationError) -> str:
    """Every key of a file that is missing or wrong, and why."""
    return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}" for item in error.errors())
