"""What the benchmark of data sets comes to: a row for each data set and system, as JSON, as Markdown and on a terminal.

T targets, S resamples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from benchmarks.datasets_systems import ABLATIONS, FULL, OURS, Outcome
from ur4rec.columns import ITEM
from ur4rec.data.sequences import Sequences
from ur4rec.markdown import escape_markdown, make_table
from ur4rec.ranking.bootstrap import bootstrap_means, estimate, paired_difference
from ur4rec.ranking.metrics import metrics_from_ranks, per_user_metrics

METRICS = ("ndcg@10", "hit@10")
SAMPLES = 2_000
COUNTS = (0, 1, 5, 10, 30)
"""Where the groups of targets begin, by the target's number of training interactions."""
GROUPS = ("0", "1–4", "5–9", "10–29", "≥ 30")
COLUMNS = ("data set", "system", "seeds", "NDCG@10", "Hit@10", "best other", "NDCG@10 − other", "CPU s", "peak MiB")
DIFFERENCE_COLUMNS = ("data set", "ours − other", "all", *GROUPS)
Values = dict[str, Float64[np.ndarray, "T"]]
Groups = dict[str, Bool[np.ndarray, "T"]]
Means = dict[str, Float64[np.ndarray, "S"]]


def describe_dataset(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return all rows of one data set; the outcomes are those of its systems."""
    data = outcomes[0].dataset.data
    measured = [one for one in outcomes if one.trained]
    values = {one.system: _measure(one) for one in measured}
    rows = [_describe(one, values) for one in measured]
    if values:
        _add_intervals(rows, values)
        _add_groups(rows, values, _group(data))
    return {
        "name": data.name,
        "digest": data.digest,
        "users": data.num_users,
        "items": data.num_items,
        "interactions": data.num_interactions,
        "targets": len(data.test),
        "systems": rows,
        "differences": _list_differences(rows, values, _group(data)),
        "left_out": {one.system: one.error for one in outcomes if one.error},
    }


def _measure(outcome: Outcome) -> dict[str, Any]:
    """Return each test user's value of each metric, the mean over the seeds, and each seed's mean over the users."""
    seeds = [per_user_metrics(one.run.ranks["test"]) for one in outcome.trained]
    return {metric: np.mean([each[metric] for each in seeds], axis=0) for metric in METRICS} | {
        "seeds": {metric: [float(each[metric].mean()) for each in seeds] for metric in METRICS}
    }


def _describe(outcome: Outcome, values: dict[str, Any]) -> dict[str, Any]:
    job, runs = outcome.trained[0].job, [one.run for one in outcome.trained]
    by_seed = values[outcome.system]["seeds"]
    return {
        "system": outcome.system,
        "setting": job.setting.name,
        "source": job.setting.source,
        "parameters": job.values,
        "chosen": [run.chosen for run in runs if run.chosen],
        "tried": {one.job.setting.name: one.run.best.ndcg for one in outcome.tried},
        "cut_short": any(run.cut_short for run in runs),
        "seeds": [one.seed for one in outcome.trained],
        "validation": [metrics_from_ranks(run.ranks["validation"])[METRICS[0]] for run in runs],
        "test": {metric: _summarize(by_seed[metric]) for metric in METRICS},
        "cpu_s": float(np.mean([run.curve[-1].cpu_s for run in runs])),
        "wall_s": float(np.mean([run.curve[-1].wall_s for run in runs])),
        "epochs": [run.curve[-1].epoch for run in runs],
        "peak_memory_mb": max(run.peak_memory_mb for run in runs),
        "versions": runs[0].versions,
        "curves": [[asdict(point) for point in run.curve] for run in runs],
    }


def _summarize(by_seed: Sequence[float]) -> dict[str, Any]:
    deviation = float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else None
    return {"mean": float(np.mean(by_seed)), "deviation": deviation, "by_seed": list(by_seed)}


def _add_intervals(rows: list[dict[str, Any]], values: dict[str, Any]) -> None:
    """Add intervals of the means and of the differences to the best other, over the same resampled users."""
    for metric in METRICS:
        means = _resample({system: each[metric] for system, each in values.items()})
        for row in rows:
            test = row["test"][metric]
            test["ci95"] = estimate(test["mean"], means[row["system"]]).ci95
            other = _best_other(row["system"], {name: float(each[metric].mean()) for name, each in values.items()})
            if other:
                gap = float((values[row["system"]][metric] - values[other][metric]).mean())
                test["best_other"] = other
                test["difference"] = estimate(gap, means[row["system"]] - means[other]).model_dump()


def _resample(values: Values) -> Means:
    means = bootstrap_means(np.stack(list(values.values()), axis=1), SAMPLES)
    return dict(zip(values, means.T, strict=True))


def _best_other(system: str, means: dict[str, float]) -> str | None:
    """Return the best of the others on the test items, the hardest to beat; ours are no others of ours."""
    others = [name for name in means if name != system and not (system in OURS and name in OURS)]
    return max(others, key=lambda name: means[name], default=None)


def _group(data: Sequences) -> Groups:
    """Return which of the test targets each group has, without empty groups."""
    counts = data.training_counts()[data.test[:, ITEM]]
    numbers = np.searchsorted(COUNTS, counts, side="right") - 1
    return {label: numbers == number for number, label in enumerate(GROUPS) if (numbers == number).any()}


def _add_groups(rows: list[dict[str, Any]], values: dict[str, Any], groups: Groups) -> None:
    metric = METRICS[0]
    for label, inside in groups.items():
        parts = {system: each[metric][inside] for system, each in values.items()}
        means = _resample(parts)
        for row in rows:
            mean = float(parts[row["system"]].mean())
            group = {"targets": int(inside.sum()), metric: estimate(mean, means[row["system"]]).model_dump()}
            if other := row["test"][metric].get("best_other"):
                gap = mean - float(parts[other].mean())
                group["difference"] = estimate(gap, means[row["system"]] - means[other]).model_dump()
            row.setdefault("target_count", {})[label] = group


def _list_differences(rows: list[dict[str, Any]], values: dict[str, Any], groups: Groups) -> list[dict[str, Any]]:
    """Return how far the whole system is ahead of the best other and of itself without a part, over all and by group.

    Each seed's difference stands beside it where both have the same seeds.
    """
    metric, by_name = METRICS[0], {row["system"]: row for row in rows}
    if FULL not in by_name:
        return []
    best, own = by_name[FULL]["test"][metric].get("best_other"), values[FULL]
    found = []
    for other in [name for name in by_name if name == best or name in ABLATIONS]:
        parts = {label: (own[metric][at], values[other][metric][at]) for label, at in groups.items()}
        whole = paired_difference(own[metric], values[other][metric], SAMPLES)
        paired = by_name[FULL]["seeds"] == by_name[other]["seeds"]
        seeds = np.subtract(own["seeds"][metric], values[other]["seeds"][metric]).tolist() if paired else []
        by_count = {label: paired_difference(*pair, SAMPLES).model_dump() for label, pair in parts.items()}
        found.append({"other": other, metric: whole.model_dump(), "by_seed": seeds, "target_count": by_count})
    return found


def list_rows(datasets: Iterable[dict[str, Any]]) -> list[list[str]]:
    """Return the cells of the table."""
    return [[each["name"], *_cells(row)] for each in datasets for row in each["systems"]]


def _cells(row: dict[str, Any]) -> list[str]:
    ndcg, hit = (row["test"][metric] for metric in METRICS)
    name = f"{row['system']} (cut short)" if row["cut_short"] else row["system"]
    difference = _difference(ndcg["difference"]) if "difference" in ndcg else "–"
    cells = [name, str(len(row["seeds"])), _figure(ndcg), _figure(hit), ndcg.get("best_other", "–"), difference]
    return [*cells, f"{row['cpu_s']:,.0f}", f"{row['peak_memory_mb']:,.0f}"]


def _figure(test: dict[str, Any]) -> str:
    deviation = "" if test["deviation"] is None else f" ± {_short(test['deviation'])}"
    return _interval(test["mean"], test["ci95"], ".4f", deviation)


def _interval(value: float, ends: Sequence[float], style: str, between: str = "") -> str:
    low, high = (_short(end, style) for end in ends)
    return f"{_short(value, style)}{between} [{low}, {high}]"


def _short(value: float, style: str = ".4f") -> str:
    """Return a number without the zero before its point.

    >>> _short(0.0731), _short(-0.00123, "+.4f"), _short(1.0)
    ('.0731', '−.0012', '1.0000')
    """
    shown = format(value, style).replace("-", "−")
    return shown.replace("0.", ".", 1) if shown.lstrip("+−").startswith("0.") else shown


def list_group_rows(datasets: Iterable[dict[str, Any]]) -> list[list[str]]:
    """Return the cells of the table of groups: a line of the numbers of targets, then each system's NDCG@10."""
    rows = []
    for each in datasets:
        for row in each["systems"]:
            groups = row.get("target_count", {})
            if row is each["systems"][0]:
                targets = [f"{groups[label]['targets']:,}" if label in groups else "0" for label in GROUPS]
                rows.append([each["name"], "targets", *targets])
            shown = [_short(groups[label][METRICS[0]]["value"]) if label in groups else "–" for label in GROUPS]
            rows.append([each["name"], row["system"], *shown])
    return rows


def list_difference_rows(datasets: Iterable[dict[str, Any]]) -> list[list[str]]:
    """Return the cells of the table of differences."""
    rows = []
    for each in datasets:
        for one in each["differences"]:
            deviation = f" ± {_short(np.std(one['by_seed'], ddof=1))}" if len(one["by_seed"]) > 1 else ""
            cells = [_difference(one[METRICS[0]], deviation)]
            cells += [
                _difference(one["target_count"][label]) if label in one["target_count"] else "–" for label in GROUPS
            ]
            rows.append([each["name"], f"{FULL} − {one['other']}", *cells])
    return rows


def _difference(figure: dict[str, Any], between: str = "") -> str:
    return _interval(figure["value"], figure["ci95"], "+.4f", between)


def write_markdown(report: dict[str, Any]) -> str:
    """Return the tables as Markdown, with what they are of."""
    datasets = report["datasets"]
    parts = [
        make_table(COLUMNS, _escape(list_rows(datasets))),
        "NDCG@10 by the target's number of training interactions:",
        make_table(("data set", "system", *GROUPS), _escape(list_group_rows(datasets))),
    ]
    if differences := list_difference_rows(datasets):
        parts += ["Differences, paired by user:", make_table(DIFFERENCE_COLUMNS, _escape(differences))]
    for each in datasets:
        size = f"{each['users']:,} users, {each['items']:,} items, {each['interactions']:,} interactions"
        parts.append(f"{escape_markdown(each['name'])} (digest `{each['digest'][:12]}…`): {size}.")
        parts += [
            f"{escape_markdown(name)} is left out: {escape_markdown(why)}." for name, why in each["left_out"].items()
        ]
    return "\n\n".join(parts) + "\n"


def _escape(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    return [[escape_markdown(cell) for cell in row] for row in rows]
