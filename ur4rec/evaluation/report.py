"""`report.html`: one self-contained page that says what was measured, how, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

import yaml
from jinja2 import Environment, StrictUndefined

from ur4rec.evaluation.baselines import BASELINES
from ur4rec.evaluation.figures import plot_slices, plot_systems, plot_training
from ur4rec.evaluation.history import TrainingHistory
from ur4rec.evaluation.results import HEADLINE_METRICS, Results, SystemMetrics
from ur4rec.evaluation.slices import SLICES, slice_title
from ur4rec.evaluation.systems import SASREC
from ur4rec.ranking.bootstrap import Figure
from ur4rec.ranking.lists import LIST_METRICS
from ur4rec.ranking.metrics import RANK_METRICS

TEMPLATE = "report.html"
MAIN_METRIC = "ndcg@10"
EVALUATED = "The evaluated model, with the weights of its last stage and the memories replayed up to the target"
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
