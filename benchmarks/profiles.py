"""Where the time goes, function by function."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from torch.profiler import ProfilerActivity, profile


@dataclass(frozen=True)
class FunctionCost:
    """One function of a profile."""

    function: str
    """`file:line(name)`; a built-in or a tensor operation has no file."""
    calls: int
    own_s: float
    """Without the functions that it calls."""
    total_s: float


def list_costs(finished: cProfile.Profile, count: int = 10) -> list[FunctionCost]:
    """The functions with the most time of their own."""
    entries = pstats.Stats(finished).stats.items()  # type: ignore[attr-defined]
    costs = [
        FunctionCost(_name(*key), calls, round(own, 4), round(total, 4)) for key, (_, calls, own, total, _) in entries
    ]
    return sorted(costs, key=lambda cost: -cost.own_s)[:count]


def list_operations(run: Callable[[], object], count: int = 10) -> list[FunctionCost]:
    """The tensor operations with the most processor time of their own, backward passes included."""
    with profile(activities=[ProfilerActivity.CPU]) as finished:
        run()
    costs = [
        FunctionCost(
            event.key, event.count, round(event.self_cpu_time_total / 1e6, 4), round(event.cpu_time_total / 1e6, 4)
        )
        for event in finished.key_averages()
    ]
    return sorted(costs, key=lambda cost: -cost.own_s)[:count]


def tabulate_costs(title: str, costs: list[FunctionCost]) -> Table:
    """One row a function."""
    table = Table("function", "calls", "own s", "total s", title=title, title_justify="left")
    for cost in costs:
        table.add_row(cost.function, f"{cost.calls:,}", f"{cost.own_s:.2f}", f"{cost.total_s:.2f}")
    return table


def _name(file: str, line: int, function: str) -> str:
    return function if file == "~" else f"{'/'.join(Path(file).parts[-2:])}:{line}({function})"
