"""Figures of the report, as SVG files in data URIs: nothing is loaded from elsewhere, no identifier collides."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ur4rec.evaluation.history import StageHistory, TrainingHistory
from ur4rec.evaluation.results import Slice, SystemMetrics
from ur4rec.evaluation.slices import SLICES, slice_title
from ur4rec.ranking.bootstrap import Estimate

INK, MUTED, GRID = "#1b2733", "#5b6875", "#e3e8ee"
MODEL_COLOR = "#0b62a8"
OTHER_COLORS = ("#d1662b", "#3d8b5f", "#8a5aa8", "#7c8794")
MARKERS = "osD^v"
"""A system keeps its marker in print without colours."""
PANELS_A_ROW = 2
WIDTH = 10.5
STYLE: Any = {  # matplotlib's own type lists the keys of one release
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "font.size": 10,
    "grid.color": GRID,
    "legend.frameon": False,
    "svg.hashsalt": "ur4rec",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}


def plot_systems(test: SystemMetrics, metric: str) -> str:
    """Draw bars of one metric with their intervals, the evaluated model on top."""
    estimates = [metrics[metric] for metrics in test.values()]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.9 + 0.55 * len(test)), layout="constrained")
        axes = figure.subplots()
        positions = range(len(test))
        axes.barh(positions, [item.value for item in estimates], color=_colors(len(test)), height=0.62)
        axes.errorbar(
            [item.value for item in estimates],
            positions,
            xerr=_error_lengths(estimates),
            fmt="none",
            ecolor=INK,
            elinewidth=1.2,
            capsize=4,
        )
        for position, item in zip(positions, estimates, strict=True):
            axes.annotate(
                f"{item.value:.4f}", (item.ci95[1], position), (7, 0), textcoords="offset points", va="center"
            )
        axes.set_yticks(positions, list(test))
        axes.tick_params(axis="y", labelcolor=INK, length=0)
        axes.set_xlim(0, 1.12 * max([item.ci95[1] for item in estimates] + [1e-6]))
        axes.set_xlabel(f"{metric.upper()}, mean over test users with 95 % interval")
        axes.grid(axis="y", visible=False)
        axes.invert_yaxis()
        return _data_uri(figure)


def plot_training(history: TrainingHistory, references: Mapping[str, float]) -> str:
    """Draw losses and validation NDCG@10 of every epoch, stage after stage; a ring marks the epoch that was kept.

    The validation NDCG@10 of other systems, by name, are horizontal lines.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 5.6), layout="constrained")
        loss, score = figure.subplots(2, sharex=True)
        end = 0.0
        for number, stage in enumerate(history.stages):
            start, end = end, _plot_stage(loss, score, stage, end)
            height = 1.02 + 0.08 * (number % 2)  # short stages lie close together: neighbours' names must not touch
            loss.text(
                (start + end) / 2,
                height,
                stage.stage,
                transform=loss.get_xaxis_transform(),
                ha="center",
                va="top",
                fontsize=9,
            )
        for (name, value), color in zip(references.items(), _colors(len(references) + 1)[1:], strict=True):
            score.axhline(value, color=color, linestyle=(0, (4, 3)), linewidth=1.2, label=f"{name} (reference)")
        loss.set_ylabel("loss: training, validation")
        score.set_ylabel("validation NDCG@10")
        score.set_xlabel("epoch, counted through all stages")
        score.set_xlim(0, 1.015 * max(end, 1))
        score.margins(y=0.12)
        if references:
            _legend_below(figure, score)
        return _data_uri(figure)


def plot_slices(slices: Sequence[Slice], metric: str) -> str:
    """Draw one metric by part of the users, a panel for each way to part them."""
    ways = list(dict.fromkeys(part.by for part in slices))
    num_rows = max(math.ceil(len(ways) / PANELS_A_ROW), 1)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.5 + 3.5 * num_rows), layout="constrained")
        grid = figure.subplots(num_rows, PANELS_A_ROW, sharey=True, squeeze=False)
        for axes, by in zip_longest(grid.flat, ways):
            _plot_panel(axes, by, [part for part in slices if part.by == by], metric)
        for axes in grid[:, 0]:
            axes.set_ylabel(metric.upper())
        grid[0, 0].set_ylim(bottom=0)
        _legend_below(figure, grid[0, 0])
        return _data_uri(figure)


def _plot_stage(loss: Axes, score: Axes, stage: StageHistory, start: float) -> float:
    """Draws one stage from epoch `start` on; returns the epoch where it ends."""
    epochs = [start + row.epoch for row in stage.series]
    for axes, color, values in (
        (loss, MODEL_COLOR, [row.loss for row in stage.series]),
        (loss, OTHER_COLORS[0], [row.validation_loss for row in stage.series]),
        (score, MODEL_COLOR, [row.ndcg for row in stage.series]),
    ):
        # None and NaN leave a gap.
        axes.plot(epochs, np.array(values, dtype=np.float64), color=color, marker="o", markersize=2.5)
    best = stage.validation.get("ndcg@10")
    if best is not None:
        score.plot([start + stage.best_epoch], [best], "o", markersize=9, markerfacecolor="none", color=INK)
    end = max(epochs, default=start)
    for axes in (loss, score):
        axes.axvline(end, color=MUTED, linewidth=0.8)
    return end


def _plot_panel(axes: Axes, by: str | None, slices: Sequence[Slice], metric: str) -> None:
    """Draw the parts side by side; groups that every data set has keep their places where they are empty."""
    axes.set_visible(by is not None)
    if by is None:
        return
    labels = {name: f"{name}\nnone" for name in (SLICES[by].names if by in SLICES else ())}
    labels |= {part.name: _tick_label(part) for part in slices}
    places = [list(labels).index(part.name) for part in slices]
    systems = list(slices[0].test)
    for number, (system, color) in enumerate(zip(systems, _colors(len(systems)), strict=True)):
        estimates = [part.test[system][metric] for part in slices]
        shift = 0.8 / len(systems) * (number - (len(systems) - 1) / 2)
        axes.errorbar(
            [place + shift for place in places],
            [item.value for item in estimates],
            yerr=_error_lengths(estimates),
            fmt=MARKERS[number % len(MARKERS)],
            color=color,
            markersize=4.5,
            elinewidth=1.2,
            label=system,
        )
    axes.set_xticks(range(len(labels)), labels.values())
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_title(slice_title(by).capitalize())
    axes.grid(axis="x", visible=False)


def _tick_label(part: Slice) -> str:
    values = f"{part.low}–{part.high}" if part.high > part.low else f"{part.low}"
    lines = (part.name, *(() if part.name[:1].isdigit() else (values,)), f"n={part.num_users:,}")
    return "\n".join(lines)


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=max(len(labels), 1), fontsize=9)


def _colors(count: int) -> list[str]:
    return [MODEL_COLOR, *(OTHER_COLORS[number % len(OTHER_COLORS)] for number in range(count - 1))]


def _error_lengths(estimates: Sequence[Estimate]) -> list[list[float]]:
    """Distances from the mean to both ends; a skewed interval of few users may leave the mean outside."""
    low = [max(item.value - item.ci95[0], 0.0) for item in estimates]
    high = [max(item.ci95[1] - item.value, 0.0) for item in estimates]
    return [low, high]


def _data_uri(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})  # no date: equal results give an equal report
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
