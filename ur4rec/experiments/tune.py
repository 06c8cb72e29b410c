"""Searches for settings with a better validation metric."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from ur4rec.config import Config
from ur4rec.experiments import study as studies
from ur4rec.experiments.choices import check_metric
from ur4rec.experiments.search_space import tidy
from ur4rec.experiments.stage_cache import StageInputs, read_inputs
from ur4rec.experiments.trials import OnTrial, Search, TrialRunner
from ur4rec.experiments.yaml_files import ExperimentError
from ur4rec.storage.artifacts import write_text_atomic
from ur4rec.storage.locks import hold_lock
from ur4rec.training.config import StageConfig

BEST = "best.yaml"
LOCK = "tune.lock"


@dataclass(frozen=True)
class RankedTrial:
    """A complete trial."""

    number: int
    value: float
    settings: dict[str, Any]


@dataclass(frozen=True)
class Tuning:
    """What a search came to.

    Args:
        trials: Complete trials, best first.
        num_pruned: Trials that were given up early.
        best: The whole configuration of the best trial; None without one.
        importance: Key → share of what tells the best trials from all, see `study.weigh_importance`.
        failures: Trial of this run → its error.
    """

    trials: list[RankedTrial]
    num_pruned: int
    best: Config | None
    importance: dict[str, float]
    failures: dict[str, str]

    @property
    def missing_for_importance(self) -> int:
        """Complete trials to go until importances can be trusted."""
        return max(studies.MIN_TRIALS_FOR_IMPORTANCE - len(self.trials), 0)


def tune(
    sequences: Path,
    embeddings: Path,
    output: Path,
    config: Config,
    search: Search,
    jobs: int = 1,
    device: str = "auto",
    on_trial: OnTrial = lambda number, value, done: None,
) -> Tuning:
    """Runs the trials that are missing and writes `best.yaml`.

    The value of a trial is the metric that its last stage measured on the validation targets. No test target is read.

    Args:
        sequences: Sequences artifact folder.
        embeddings: Text embeddings artifact folder.
        output: Folder of the tuning; the trials of an earlier run there count.
        config: Everything that is not searched. It is the first trial, where the space holds it.
        search: What to search.
        jobs: Trials at once, each in a process of its own. More than one makes the order of results, and so the later
            trials, depend on time.
        device: `auto`, `cpu` or `cuda`.
        on_trial: Called in this process.

    Raises:
        ExperimentError: The metric is unknown, the folder holds trials with other settings, another process is
            writing there, or the study cannot be kept.
        ArtifactError: A folder is altered.
    """
    check_metric(search.metric)
    inputs = read_inputs(sequences, embeddings, device)
    output.mkdir(parents=True, exist_ok=True)
    message = f"{output}: another process is tuning there; wait for it or choose another --output"
    with hold_lock(output / LOCK, ExperimentError(message)), studies.explaining_database(output):
        study = studies.open_study(output, _list_settings(config, search, inputs), search.prune)
        studies.begin_with(study, search.space, config.to_dict())
        runner = TrialRunner(study, search, config, inputs, output, on_trial)
        runner.run(jobs)
        tuning = _summarize(study, config, runner.failures)
        if tuning.best:
            _write_best(output / BEST, tuning, search)
    return tuning


def _list_settings(config: Config, search: Search, inputs: StageInputs) -> dict[str, Any]:
    """What makes the values of two trials comparable, by the name an error gives it."""
    fixed = config.narrow(StageConfig).to_dict()
    return {
        "search space": {name: parameter.model_dump() for name, parameter in search.space.items()},
        "metric": search.metric,
        "last stage": search.stage,
        "device": inputs.device,
        "sequences folder": inputs.sequences_digest,
        "embeddings folder": inputs.embeddings_digest,
        "training code": inputs.code,
        **{name: value for name, value in fixed.items() if name not in search.space},
    }


def _summarize(study: Study, base: Config, failures: dict[str, str]) -> Tuning:
    ranked = [_describe(trial) for trial in studies.rank_trials(study)]
    best = Config.parse(base.to_dict() | ranked[0].settings, f"trial {ranked[0].number}") if ranked else None
    pruned = len(study.get_trials(deepcopy=False, states=[TrialState.PRUNED]))
    return Tuning(ranked, pruned, best, studies.weigh_importance(study), failures)


def _describe(trial: FrozenTrial) -> RankedTrial:
    settings = {name: tidy(value) for name, value in trial.params.items()}
    return RankedTrial(trial.number, trial.values[0], settings)


def _write_best(path: Path, tuning: Tuning, search: Search) -> None:
    assert tuning.best is not None
    best = tuning.trials[0]
    head = (
        f"# Trial {best.number}, the best of {len(tuning.trials)}: validation {search.metric} {best.value:.4f} "
        f"after {search.stage}\n"
    )
    write_text_atomic(path, head + yaml.safe_dump(tuning.best.to_dict(), sort_keys=False))
