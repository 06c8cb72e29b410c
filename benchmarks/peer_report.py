"""What the runs of a benchmark come to: figures of each system, ratios, the tables, the JSON file.

Letters: U users with a target.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.table import Table

from benchmarks.peer_exchange import BATCH_SIZE, HORIZONS, METRIC, Point, Run, Split
from ur4rec.evaluation.metrics import metrics_from_ranks

TOLERANCE = 1e-3
"""Of a score that was ranked twice: another batch size may break a tie of scores in the last digit."""


class BenchmarkError(ValueError):
    """A benchmark that cannot be run or whose runs contradict themselves."""


@dataclass(frozen=True)
class Figures:
    """What a system came to with one setting; times are those up to its best validation."""

    validation_ndcg_10: float
    test_ndcg_10: float
    test_hit_10: float
    best_epoch: int
    epochs: int
    wall_s: float
    cpu_s: float
    validation_s: float
    """Part of `wall_s`."""
    preparation_s: float
    total_wall_s: float
    """Until training ended by itself."""
    users_per_s: float
    peak_memory_mb: float


@dataclass(frozen=True)
class Comparison:
    """How soon one of our systems is as good as a peer at its best."""

    ours: str
    peer: str
    target: float
    """The peer's best validation NDCG@10."""
    seconds: float | None
    """None: never reached."""
    cpu_seconds: float | None
    peer_seconds: float
    peer_cpu_seconds: float

    @property
    def ratio(self) -> float | None:
        """The peer's wall time over ours."""
        return self.peer_seconds / self.seconds if self.seconds else None

    @property
    def cpu_ratio(self) -> float | None:
        """The peer's CPU time over ours."""
        return self.peer_cpu_seconds / self.cpu_seconds if self.cpu_seconds else None


def best_point(run: Run) -> Point:
    """The first validation with the best score of those that count."""
    return max((point for point in run.curve if point.counted), key=lambda point: point.ndcg)


def summarize(run: Run, split: Split) -> Figures:
    """Figures of a run; every rank is computed here, from the scores that it returned.

    Raises:
        BenchmarkError: The returned scores do not give the best validation score that the run noted.
    """
    metrics = {horizon: _measure(run, split, horizon) for horizon in HORIZONS}
    best = best_point(run)
    if math.fabs(metrics["validation"][METRIC] - best.ndcg) > TOLERANCE:
        raise BenchmarkError(
            f"the returned scores give a validation {METRIC} of {metrics['validation'][METRIC]:.4f}, "
            f"the curve has {best.ndcg:.4f} at epoch {best.epoch}; expected the same weights behind both"
        )
    return Figures(
        validation_ndcg_10=best.ndcg,
        test_ndcg_10=metrics["test"][METRIC],
        test_hit_10=metrics["test"]["hit@10"],
        best_epoch=best.epoch,
        epochs=run.curve[-1].epoch,
        wall_s=best.wall_s,
        cpu_s=best.cpu_s,
        validation_s=best.validation_s,
        preparation_s=run.preparation_s,
        total_wall_s=run.curve[-1].wall_s,
        users_per_s=run.users_per_s,
        peak_memory_mb=run.peak_memory_mb,
    )


def _measure(run: Run, split: Split, horizon: str) -> dict[str, float]:
    batches = iter(torch.from_numpy(run.scores[horizon]).split(BATCH_SIZE))
    return metrics_from_ranks(split.rank(lambda _users: next(batches), horizon))


def compare(ours: str, run: Run, peer: str, other: Run) -> Comparison:
    """Finds the first validation of `run` that is at least as good as the best one of `other`."""
    goal = best_point(other)
    reached = next((point for point in run.curve if point.counted and point.ndcg >= goal.ndcg), None)
    seconds, cpu_seconds = (reached.wall_s, reached.cpu_s) if reached else (None, None)
    return Comparison(ours, peer, goal.ndcg, seconds, cpu_seconds, goal.wall_s, goal.cpu_s)


def tabulate_systems(rows: Iterable[tuple[str, str, Figures]]) -> Table:
    """A row a system: its name, its setting, its figures."""
    headers = "system|setting|val NDCG@10|test NDCG@10|test HR@10|epochs|wall s|CPU s|valid. s|peak MiB|users/s"
    table = Table(*headers.split("|"), title="Training to the best validation score, leave-one-out, whole catalogue")
    for name, setting, figures in rows:
        table.add_row(name, setting, *_format(figures))
    return table


def _format(figures: Figures) -> Iterator[str]:
    yield from (f"{value:.4f}" for value in (figures.validation_ndcg_10, figures.test_ndcg_10, figures.test_hit_10))
    yield f"{figures.best_epoch} of {figures.epochs}"
    yield from (f"{value:,.1f}" for value in (figures.wall_s, figures.cpu_s, figures.validation_s))
    yield from (f"{value:,.0f}" for value in (figures.peak_memory_mb, figures.users_per_s))


def tabulate_comparisons(comparisons: Iterable[Comparison]) -> Table:
    """A row for each of our systems and each peer."""
    headers = "ours|peer|its best val NDCG@10|peer wall s|ours wall s|ratio|peer CPU s|ours CPU s|ratio"
    table = Table(*headers.split("|"), title="Time until ours is as good as the peer at its best")
    for row in comparisons:
        times = row.peer_seconds, row.seconds, row.ratio, row.peer_cpu_seconds, row.cpu_seconds, row.cpu_ratio
        table.add_row(row.ours, row.peer, f"{row.target:.4f}", *map(_or_never, times))
    return table


def _or_never(value: float | None) -> str:
    return "never" if value is None else f"{value:,.1f}"


def describe_curve(run: Run) -> list[dict[str, Any]]:
    """The validations, for the JSON file."""
    return [asdict(point) for point in run.curve]


def describe_comparison(comparison: Comparison) -> dict[str, Any]:
    """With the ratios, for the JSON file."""
    return asdict(comparison) | {"ratio": comparison.ratio, "cpu_ratio": comparison.cpu_ratio}
