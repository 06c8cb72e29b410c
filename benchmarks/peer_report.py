"""What the runs of a benchmark come to: figures of each system, ratios, the tables, the JSON file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from benchmarks.peer_exchange import HORIZONS, METRIC, Run
from benchmarks.peer_jobs import OURS, BenchmarkError, Job
from ur4rec.data.sequences import Sequences
from ur4rec.evaluation.provenance import describe_versions
from ur4rec.ranking.metrics import metrics_from_ranks

TOLERANCE = 1e-3
"""Of a score that was computed twice: another batch size may break a tie of scores in the last digit."""

QUALITY_HEADERS = "system|setting|val NDCG@10|test NDCG@10|test HR@10|epochs"
COST_HEADERS = "system|setting|wall s|CPU s|valid. s|peak MiB|users/s"
COMPARISON_HEADERS = "ours|peer|its best|peer wall s|ours|ratio|peer CPU s|ours|ratio"


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
class Measured:
    """A job and what came of it."""

    job: Job
    run: Run
    figures: Figures


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


def summarize(run: Run) -> Figures:
    """Figures of a run, from the ranks that it returned.

    Raises:
        BenchmarkError: The ranks do not give the best validation score that the run noted.
    """
    metrics = {horizon: metrics_from_ranks(run.ranks[horizon]) for horizon in HORIZONS}
    best = run.best
    if abs(metrics["validation"][METRIC] - best.ndcg) > TOLERANCE:
        raise BenchmarkError(
            f"the returned ranks give a validation {METRIC} of {metrics['validation'][METRIC]:.4f}, "
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


def compare(ours: str, run: Run, peer: str, other: Run) -> Comparison:
    """Finds the first validation of `run` that is at least as good as the best one of `other`."""
    goal = other.best
    reached = next((point for point in run.curve if point.counted and point.ndcg >= goal.ndcg), None)
    seconds, cpu_seconds = (reached.wall_s, reached.cpu_s) if reached else (None, None)
    return Comparison(ours, peer, goal.ndcg, seconds, cpu_seconds, goal.wall_s, goal.cpu_s)


def choose_best(measured: Iterable[Measured]) -> dict[str, Measured]:
    """System → its run with the best validation score, the first of equals."""
    best: dict[str, Measured] = {}
    for one in measured:
        system = one.job.system
        if system not in best or one.figures.validation_ndcg_10 > best[system].figures.validation_ndcg_10:
            best[system] = one
    return best


def compare_all(measured: Iterable[Measured]) -> list[Comparison]:
    """Each of our systems with each peer, by their best runs."""
    best = choose_best(measured)
    pairs = ((ours, peer) for ours in best for peer in best if ours in OURS and peer not in OURS)
    return [compare(ours, best[ours].run, peer, best[peer].run) for ours, peer in pairs]


def tabulate_quality(measured: Sequence[Measured]) -> Table:
    """A row a run; the best one of each system in bold."""
    return _tabulate("Best validation; leave-one-out", QUALITY_HEADERS, measured, _format_quality)


def tabulate_cost(measured: Sequence[Measured]) -> Table:
    """A row a run; the best one of each system in bold."""
    return _tabulate("Cost until the best validation", COST_HEADERS, measured, _format_cost)


def _tabulate(
    title: str, headers: str, measured: Sequence[Measured], cells: Callable[[Figures], Iterator[str]]
) -> Table:
    table = Table(title=title)
    for header in headers.split("|"):
        table.add_column(header, justify="left" if header in ("system", "setting") else "right")
    best = choose_best(measured)
    for one in measured:
        style = "bold" if best[one.job.system] is one else "dim"
        table.add_row(one.job.system, one.job.setting.name, *cells(one.figures), style=style)
    return table


def _format_quality(figures: Figures) -> Iterator[str]:
    yield from (f"{value:.4f}" for value in (figures.validation_ndcg_10, figures.test_ndcg_10, figures.test_hit_10))
    yield f"{figures.best_epoch} of {figures.epochs}"


def _format_cost(figures: Figures) -> Iterator[str]:
    yield from (f"{value:,.1f}" for value in (figures.wall_s, figures.cpu_s, figures.validation_s))
    yield from (f"{value:,.0f}" for value in (figures.peak_memory_mb, figures.users_per_s))


def tabulate_comparisons(comparisons: Iterable[Comparison]) -> Table:
    """A row for each of our systems and each peer."""
    table = Table(*COMPARISON_HEADERS.split("|"), title="Until ours validates as well as the peer at its best")
    for row in comparisons:
        times = row.peer_seconds, row.seconds, row.ratio, row.peer_cpu_seconds, row.cpu_seconds, row.cpu_ratio
        table.add_row(row.ours, row.peer, f"{row.target:.4f}", *map(_or_never, times))
    return table


def _or_never(value: float | None) -> str:
    return "never" if value is None else f"{value:,.1f}"


def build_report(data: Sequences, measured: Sequence[Measured], comparisons: Iterable[Comparison]) -> dict[str, Any]:
    """What the JSON file holds besides the circumstances of the run."""
    return {
        "dataset": {
            "name": data.name,
            "digest": data.digest,
            "num_users": data.num_users,
            "num_items": data.num_items,
            "num_interactions": data.num_interactions,
        },
        "protocol": "leave-one-out; whole catalogue; seen items excluded; mean over the places of ties",
        "versions": describe_versions(),
        "systems": {
            system: _describe(one)
            | {
                "versions": one.run.versions,
                "curve": [asdict(point) for point in one.run.curve],
                "settings": [_describe(other) for other in measured if other.job.system == system],
            }
            for system, one in choose_best(measured).items()
        },
        "comparisons": [
            asdict(comparison) | {"ratio": comparison.ratio, "cpu_ratio": comparison.cpu_ratio}
            for comparison in comparisons
        ],
    }


def _describe(one: Measured) -> dict[str, Any]:
    setting = {"setting": one.job.setting.name, "source": one.job.setting.source, "parameters": one.job.values}
    return setting | asdict(one.figures)
