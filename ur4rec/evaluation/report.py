"""`report.html`: one self-contained page that says what was measured, how, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import yaml
from jinja2 import Environment, StrictUndefined

from ur4rec.evaluation.baselines import BASELINES
from ur4rec.evaluation.figures import plot_slices, plot_systems, plot_training
from ur4rec.evaluation.history import HISTORY, StageHistory, TrainingHistory, read_history
from ur4rec.evaluation.results import HEADLINE_METRICS, Results, SystemMetrics
from ur4rec.evaluation.slices import SLICES, slice_title
from ur4rec.evaluation.systems import SASREC
from ur4rec.markdown import escape_markdown, make_table
from ur4rec.ranking.bootstrap import Figure
from ur4rec.ranking.lists import LIST_METRICS
from ur4rec.ranking.metrics import RANK_METRICS
from ur4rec.storage.artifacts import MANIFEST, write_text_atomic

TEMPLATE = "report.html"
MAIN_METRIC = "ndcg@10"
EVALUATED = "The evaluated model, with the weights of its last stage and the memories replayed up to the target"
NO_CURVES = "<p>This system has no such stage, and none before it.</p>\n"
CURVES = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Training curves</title></head>
<body style="font-family: system-ui, sans-serif">
<table cellpadding="6"><tr><th>stage</th><th>epochs</th><th>kept epoch</th><th>its validation NDCG@10</th></tr>
{% for stage in stages %}<tr>{% for cell in stage %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>
<img alt="Loss and validation NDCG@10 of every epoch" style="max-width: 100%" src="{{ figure }}">
</body></html>
"""
FIRST_STAGE = "SASRec alone, as the first training stage left it"


def render_report(results: Results, history: TrainingHistory) -> str:
    """The page; everything that comes from data is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": _number, "signed": _signed, "interval": _interval, "duration": _duration}
    environment.filters["slice_title"] = slice_title
    template = environment.from_string(files("ur4rec.evaluation").joinpath(TEMPLATE).read_text(encoding="utf-8"))
    page: str = template.render(
        results=results,
        history=history,
        metrics=list(results.test[results.model_name]),
        list_metrics=results.list_metrics,
        headline=HEADLINE_METRICS,
        main=MAIN_METRIC,
        meanings=_metric_meanings(),
        descriptions=_describe_systems(results.model_name),
        slicings=[slicing.title for slicing in SLICES.values()],
        best=_best_systems(results.test),
        slices=[(part, _best_systems(part.test)[MAIN_METRIC]) for part in results.slices],
        rival=_best_other(results),
        systems_figure=plot_systems(results.test, MAIN_METRIC),
        training_figure=plot_training(history, _references(results)),
        slices_figure=plot_slices(results.slices, MAIN_METRIC),
        config_yaml=yaml.safe_dump(results.config, sort_keys=False, allow_unicode=True),
    )
    return page


def render_comparison(results: Results) -> str:
    """Write the test metrics of all systems as Markdown, and by how much the model is ahead of each other one."""
    name, model = escape_markdown(results.dataset.name), results.model_name
    rows = [
        (system, *map(_estimate, (metrics[metric] for metric in HEADLINE_METRICS)), _ahead(results, system))
        for system, metrics in results.test.items()
    ]
    columns = ("system", *HEADLINE_METRICS, f"{MAIN_METRIC}: {model} minus this")
    return f"# {model} on {name}\n\n{results.protocol}. Intervals are of 95 %.\n\n{make_table(columns, rows)}\n"


def write_curves(checkpoint: Path, page: Path) -> None:
    """Write the curves of all stages that a checkpoint has been through, as a page of its own.

    A checkpoint that was handed on before the system's first stage has none, and the page says so.

    Raises:
        HistoryError: The folder is no checkpoint, or its history is damaged.
    """
    if (checkpoint / MANIFEST).is_file() and not (checkpoint / HISTORY).is_file():
        write_text_atomic(page, NO_CURVES)
        return
    history = read_history(checkpoint / HISTORY)
    stages = [(stage.stage, f"{stage.epochs}", f"{stage.best_epoch}", _best(stage)) for stage in history.stages]
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(CURVES)
    write_text_atomic(page, template.render(figure=plot_training(history, {}), stages=stages))


def _estimate(figure: Figure) -> str:
    return f"{_number(figure.value)} ({_interval(figure)})"


def _ahead(results: Results, system: str) -> str:
    figure = results.differences.get(system, {}).get(MAIN_METRIC)
    return "" if figure is None else f"{_signed(figure.value)} ({_interval(figure, signed=True)})"


def _best(stage: StageHistory) -> str:
    value = stage.validation.get(MAIN_METRIC)
    return "" if value is None else _number(value)


def _metric_meanings() -> dict[str, str]:
    """Return the label and the meaning of every metric, for the glossary."""
    ranks = {metric.name.upper() + ("@k" if metric.cutoffs else ""): metric.meaning for metric in RANK_METRICS}
    return ranks | {metric.name.upper(): metric.meaning for metric in LIST_METRICS}


def _describe_systems(model_name: str) -> dict[str, str]:
    baselines = {name: baseline.description for name, baseline in BASELINES.items()}
    return {model_name: EVALUATED, SASREC: FIRST_STAGE} | baselines


def _best_systems(test: SystemMetrics) -> dict[str, set[str]]:
    """Metric → the systems that share its highest value; none where all do."""
    best: dict[str, set[str]] = {}
    for metric in next(iter(test.values())):
        values = {system: estimates[metric].value for system, estimates in test.items()}
        top = {system for system, value in values.items() if value == max(values.values())}
        best[metric] = top if len(top) < len(test) else set()
    return best


def _best_other(results: Results) -> str | None:
    """The system that the model is measured against in the first sentence."""
    others = list(results.differences)
    return max(others, key=lambda system: results.test[system][MAIN_METRIC].value) if others else None


def _references(results: Results) -> Mapping[str, float]:
    """Validation scores of the other systems, as lines in the training curves.

    None with the sampled protocol: the curves are of the whole catalogue.
    """
    if results.protocol.candidates:
        return {}
    return {
        name: values[MAIN_METRIC] for name, values in results.validation_systems.items() if name != results.model_name
    }


def _number(value: float) -> str:
    return f"{value:.4f}"


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def _interval(figure: Figure, signed: bool = False) -> str:
    if figure.ci95 is None:
        return ""
    low, high = figure.ci95
    return f"{_signed(low)} to {_signed(high)}" if signed else f"{_number(low)}–{_number(high)}"


def _duration(seconds: float) -> str:
    """In the units that a reader would choose.

    >>> _duration(0.027), _duration(7.25), _duration(75.2), _duration(3725)
    ('0.03 s', '7.2 s', '1 min 15 s', '1 h 2 min')
    """
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
